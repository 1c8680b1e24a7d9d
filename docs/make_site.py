"""Makes the site of the documents in build/docs/site: the pages, the commands and the interfaces of the code.

Run it with `make docs`. A link that leads nowhere is an error.

Pictures of the pages are taken by the tests (`make screenshots`). A page names one in a comment, which a reader of the
repository does not see: `<!-- picture: live-1280-light-en | The view Live -->`. Without it the site is built, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from PIL import Image

from vedette.runtime.cli import vedette as command_line

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "docs"
PAGES = SITE / "pages"
SCREENSHOTS = ROOT / "build" / "screenshots"
REPOSITORY_PAGES = ("CHANGELOG", "CODE_OF_CONDUCT", "CONTRIBUTING", "LICENSE", "SECURITY", "THIRD_PARTY")
PACKAGES = ("devices", "runtime", "deploy", "compress")
PICTURE = re.compile(r"<!-- picture: (?P<name>[\w.-]+) \| (?P<caption>[^>]+?) -->")
MODULE_LIST = "<!-- modules -->"
"""Where the list of modules begins in architecture.md; the site has the interfaces instead."""


def main() -> None:
    """Collects and writes all pages, then builds the site."""
    shutil.rmtree(SITE, ignore_errors=True)
    PAGES.mkdir(parents=True)
    copy_pages()
    (PAGES / "commands.md").write_text("\n".join(describe_commands()))
    for package in PACKAGES:
        (PAGES / f"interface-{package}.md").write_text("\n".join(name_modules(package)))
    shutil.copyfile(ROOT / "docs" / "zensical.toml", SITE / "zensical.toml")
    build = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(SITE / "zensical.toml")]
    raise SystemExit(subprocess.run(build, check=False).returncode)  # noqa: S603 - the words are those above


def copy_pages() -> None:
    """Copies the pages of the repository and of docs/; README.md becomes the first page."""
    for path in (ROOT / "docs").rglob("*"):
        if path.is_file() and path.suffix not in {".py", ".toml"}:
            target = PAGES / path.relative_to(ROOT / "docs")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for name in ("README", *REPOSITORY_PAGES):
        source = next(ROOT.glob(f"{name}*"))
        text = source.read_text() if source.suffix else f"# License\n\n```text\n{source.read_text()}```\n"
        (PAGES / ("index.md" if name == "README" else f"{name}.md")).write_text(text)
    architecture = PAGES / "architecture.md"
    architecture.write_text(architecture.read_text().split(MODULE_LIST)[0])
    for page in PAGES.rglob("*.md"):
        page.write_text(place_pictures(lead_links_to_pages(page.read_text()), page.parent, PAGES / "screenshots"))


def lead_links_to_pages(text: str) -> str:
    """The text with links as they are in the site, where docs/ and the repository's pages are one folder."""
    text = re.sub(r"\]\(docs/", "](", text)
    text = re.sub(r"\]\(((?:\.\./)*)\.\./README\.md", r"](\1index.md", text)
    text = re.sub(r"\]\(((?:\.\./)*)\.\./(" + "|".join(REPOSITORY_PAGES) + r")(\.md)?\b", r"](\1\2.md", text)
    return text.replace("](LICENSE)", "](LICENSE.md)")


def place_pictures(text: str, folder: Path, copies: Path, taken: Path = SCREENSHOTS) -> str:
    """The text with its pictures, or with a note for each that nobody has taken.

    Args:
        text: of a page
        folder: of the page
        copies: where pictures of the site lie, as WebP
        taken: where the tests put them, as PNG
    """

    def place(found: re.Match[str]) -> str:
        name, caption = found["name"], found["caption"]
        if not (taken / f"{name}.png").is_file():
            return f"*Picture: {caption}. It was not taken for this site; `make screenshots` takes it.*"
        copies.mkdir(exist_ok=True)
        with Image.open(taken / f"{name}.png") as picture:
            picture.convert("RGB").save(copies / f"{name}.webp", quality=80, method=6)
        return f"![{caption}]({os.path.relpath(copies, folder)}/{name}.webp)"

    return PICTURE.sub(place, text)


def describe_commands() -> Iterator[str]:
    """The page of all commands: the help text of each."""
    yield "# Commands\n\nThe help text of each command, as `vedette COMMAND --help` prints it.\n"
    root = click.Context(command_line, info_name="vedette", max_content_width=110, terminal_width=110)
    yield from _describe(root, depth=2)


def _describe(context: click.Context, depth: int) -> Iterator[str]:
    yield f"{'#' * min(depth, 4)} {context.command_path}\n"
    yield f"```text\n{context.command.get_help(context)}\n```\n"
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None
            settings = {"max_content_width": 110, "terminal_width": 110}
            yield from _describe(click.Context(command, info_name=name, parent=context, **settings), depth + 1)


def name_modules(package: str) -> Iterator[str]:
    """A page that makes mkdocstrings describe the public classes and functions of all modules of a package."""
    yield f"# vedette.{package}\n"
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if (path.parent / "__init__.py").is_file() and path.name != "__main__.py":
            yield f"::: vedette.{name}\n"


if __name__ == "__main__":
    main()
