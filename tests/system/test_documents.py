"""The documents hold: links lead somewhere, and the list of modules is that of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def anchor(heading: str) -> str:
    """The anchor of a heading, as Git hosts make it."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert heading in {anchor(each) for each in headings}, f"{page.name}: {link}"


def test_every_page_is_in_the_menu_of_the_site() -> None:
    menu = (ROOT / "docs" / "zensical.toml").read_text()
    pages = [str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert not [page for page in pages if f'"{page}"' not in menu]


@pytest.mark.slow
def test_site_is_built_without_a_warning() -> None:
    command = [sys.executable, str(ROOT / "docs" / "make_site.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("index", "commands", "tutorials/factory", "ko/index", "interface-runtime"):
        assert (ROOT / "build" / "docs" / "site" / f"{page}.html").is_file()


def test_module_list_is_that_of_the_code() -> None:
    command = [sys.executable, str(ROOT / "docs" / "list_modules.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
