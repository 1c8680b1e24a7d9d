"""The documents hold: links lead somewhere, and the list of modules is that of the code."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from PIL import Image

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


def test_pictures_are_those_that_the_tests_take() -> None:
    tests = [*ROOT.glob("tests/runtime/page/test_*_in_browser.py"), *ROOT.glob("tests/compress/studio/*_in_browser.py")]
    sources = "".join(path.read_text() for path in tests)
    found = [name for page in PAGES for name in re.findall(r"<!-- picture: (\S+) ", page.read_text())]
    assert len(found) > 5
    for name in found:
        view = re.sub(r"^studio-|-(390|1280)(-.*)?$|(?<=models-confirm)-.*", "", name)
        assert re.search(rf'check\(f?"{view}["-]', sources), name


def test_a_picture_that_nobody_took_is_a_note(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_site", ROOT / "docs" / "make_site.py")
    assert spec is not None
    assert spec.loader is not None
    make_site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_site)
    text, folder = "a\n<!-- picture: live-390 | The view Live -->\nb\n", tmp_path / "pages" / "tutorials"
    copies = tmp_path / "pages" / "screenshots"
    folder.mkdir(parents=True)
    noted = make_site.place_pictures(text, folder, copies, tmp_path)
    assert "Picture: The view Live." in noted
    assert not copies.exists()
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "live-390.png")
    placed = make_site.place_pictures(text, folder, copies, tmp_path)
    assert placed == "a\n![The view Live](../screenshots/live-390.webp)\nb\n"
    assert Image.open(copies / "live-390.webp").size == (40, 30)


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
