"""Writes the list of all modules and public names at the end of docs/architecture.md, from their docstrings.

Run it with `make docs`. A test fails while the list differs from the code.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
MARK = "<!-- modules -->"
FOLDERS = ("runtime", "deploy", "compress", "devices")


def first_line(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    """The first sentence of a docstring, at most to the end of its first paragraph."""
    text = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
    return text.split(". ")[0].rstrip(".:")


def describe_module(path: Path) -> list[str]:
    """A module and each of its public classes and functions, a line each."""
    module = ast.parse(path.read_text())
    lines = [f"- **{path.name}**: {first_line(module)}"]
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            name = f"{node.name}()" if isinstance(node, ast.FunctionDef) else node.name
            line = first_line(node)
            lines.append(f"  - `{name}`" + (f": {line}" if line else ""))
    return lines


def list_modules() -> str:
    """The whole list, as Markdown."""
    lines: list[str] = []
    for top in FOLDERS:
        for folder in sorted({path.parent for path in (ROOT / top).rglob("*.py")}):
            lines += ["", f"### {folder.relative_to(ROOT).as_posix()}/", ""]
            for path in sorted(folder.glob("*.py")):
                lines += describe_module(path)
    return "\n".join(lines) + "\n"


def page_with_list(page: str) -> str:
    """The page with its list made anew.

    Raises:
        ValueError: the page has no mark at which the list begins.
    """
    before, mark, _ = page.partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE.name} has no line {MARK}")
    return f"{before}{MARK}\n{list_modules()}"


if __name__ == "__main__":
    new = page_with_list(PAGE.read_text())
    if "--check" in sys.argv:
        sys.exit(0 if new == PAGE.read_text() else "docs/architecture.md is out of date: run make docs")
    PAGE.write_text(new)
