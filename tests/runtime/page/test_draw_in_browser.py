"""Draw in real Chromium: a zone, a line and a mask by pointer and by keyboard, saved, and taken back."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_browser import MARKS, Browser, RunningPage, Viewer, apply_requests_here, open_viewer, serve_site
from page_site import PageSite

from vedette.runtime.page import live_pictures

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = MARKS
FILE = """# The belt by the door.
source = "file:parts"
bundle = "installed:cells"

[privacy]
zones = [[[0.02, 0.05], [0.2, 0.05], [0.2, 0.3], [0.02, 0.3]]]  # the desk

# People in the yard.
[[rules]]
use = "zone"
name = "site"
labels = ["person"]                # nobody else
zones.yard = [[0.1, 0.4], [0.45, 0.4], [0.45, 0.9], [0.1, 0.9]]

[[rules]]
use = "presence"
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPage]:
    with pytest.MonkeyPatch.context() as patch, start_site(tmp_path_factory) as running:
        apply_requests_here(patch)
        patch.setattr(live_pictures, "MAX_VIEWERS", 64)  # each test opens two views, faster than a person would
        yield running


def start_site(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return serve_site(PageSite(tmp_path_factory.mktemp("draw") / "configuration", events=1, cameras=("belt",)))


@pytest.fixture
def file(running: RunningPage) -> Path:
    path = running.site.folder / "cameras" / "belt.toml"
    path.write_text(FILE)
    path.with_name("belt.toml.last").unlink(missing_ok=True)
    return path


def open_draw(
    running: RunningPage, browser: Browser, width: int, locale: str = "en-US", scheme: str = "light"
) -> Viewer:
    viewer = open_viewer(running, browser, width, scheme, locale)
    viewer.page.on("dialog", lambda dialog: dialog.accept())
    viewer.sign_in()
    viewer.open("/draw/belt")
    viewer.page.locator("#picture:visible").wait_for()
    return viewer


def save(viewer: Viewer, expected: str) -> None:
    page = viewer.page
    page.get_by_role("button", name="Show changes and save").click()
    expect(page.locator("#change-verdict")).to_have_text("The device has checked the changes: they can be saved.")
    expect(page.locator("#change-lines")).to_contain_text(expected)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#change-said")).to_contain_text("Saved, but not in use yet")


def check_drawn(text: str) -> None:
    """A moved zone with one more point, a second mask, and a new rule with a line."""
    content: dict[str, Any] = tomllib.loads(text)
    site, presence, line = content["rules"]
    yard = site["zones"]["yard"]
    assert len(yard) == 5
    assert yard[1] == pytest.approx([0.65, 0.5], abs=0.01)
    assert [yard[0], *yard[3:]] == [[0.1, 0.4], [0.45, 0.9], [0.1, 0.9]]
    assert (presence["use"], line["line"]) == ("presence", [[0.3, 0.59], [0.7, 0.6]])
    assert len(content["privacy"]["zones"]) == 2
    assert "# People in the yard." in text
    assert "# nobody else" in text


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.slow)])
def test_a_zone_is_moved_saved_and_taken_back(running: RunningPage, browser: Browser, file: Path, width: int) -> None:
    viewer = open_draw(running, browser, width)
    page = viewer.page
    page.get_by_role("button", name="Zone site / yard", exact=True).click()
    stage, handle = page.locator("#canvas").bounding_box(), page.locator(".handle").nth(1)
    grip = handle.bounding_box()
    assert stage is not None
    assert grip is not None
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(stage["x"] + 0.6 * stage["width"], stage["y"] + 0.5 * stage["height"], steps=3)
    page.mouse.up()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("+")
    expect(page.locator(".handle")).to_have_count(5)
    page.get_by_label("What to add").select_option(label="Privacy mask")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_label("What to add").select_option(label="New rule: line")
    page.get_by_role("button", name="Add", exact=True).click()
    page.keyboard.press("ArrowUp")
    viewer.check("draw")

    page.get_by_role("button", name="Show changes and save").click()
    expect(page.locator("#change-lines")).to_contain_text("- zones.yard = [[0.1, 0.4], [0.45, 0.4], ")
    expect(page.locator("#change-list li")).to_have_text(
        ["privacy masks: 1 → 2", re.compile("site"), "rule line added"]
    )
    expect(page.locator("#change-lines")).to_be_hidden()
    viewer.check("draw-changes")
    page.get_by_text("Changed lines of the file belt.toml").click()
    expect(page.locator("#change-lines")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    assert file.read_text() == FILE
    save(viewer, 'use = "crossing"')
    check_drawn(file.read_text())

    undo = page.get_by_role("button", name=re.compile(r"^Undo: .*rule line added"))
    expect(page.get_by_role("button", name="Show changes and save")).to_be_disabled()
    undo.click()
    expect(page.locator("#change-about")).to_contain_text("This takes back what the page changed at")
    expect(page.locator("#change-lines")).to_contain_text('- use = "crossing"')
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#list li")).to_have_count(2)
    assert file.read_text() == FILE
    undo = page.get_by_role("button", name=re.compile(r"^Undo: .*rule line removed"))
    expect(undo).to_be_enabled()
    file.with_name("belt.toml.last").write_bytes(file.read_bytes())  # as if root had changed it
    file.write_text(FILE + "debounce = 4\n")
    undo.click()
    expect(page.locator("#change-said")).to_have_text("This change cannot be undone any more.")
    page.reload()
    expect(undo).to_be_hidden()
    viewer.errors[:] = [each for each in viewer.errors if "404" not in each]
    assert viewer.errors == []
    page.context.close()


@pytest.mark.slow
def test_a_region_of_interest_is_drawn_and_removed(running: RunningPage, browser: Browser, file: Path) -> None:
    viewer = open_draw(running, browser, 390)
    page = viewer.page
    expect(page.get_by_role("button", name="Add", exact=True)).to_be_disabled()
    page.get_by_label("What to add").select_option(label="Region of interest")
    expect(page.locator("#kind-note")).to_contain_text("Only what is inside is reported")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#region-note")).to_be_visible()
    expect(page.get_by_label("What to add").locator("option", has_text="Region of interest")).to_have_count(0)
    page.keyboard.press("Shift+ArrowRight")
    viewer.check("draw-region")
    save(viewer, "+ region = ")
    region = tomllib.loads(file.read_text())["region"]
    assert region[0] == [0.15, 0.1]
    expect(page.locator("#region-use")).to_have_text("The region of interest of the file is not in use yet.")
    running.site.region = tuple((x, y) for x, y in region)  # as if the camera were restarted
    expect(page.locator("#region-use")).to_contain_text("The region of interest is in use since")
    running.site.region = ()
    viewer.open("/draw/belt")
    page.get_by_role("button", name="Remove: Region of interest").click()
    save(viewer, "- region = ")
    assert file.read_text() == FILE
    assert viewer.errors == []
    page.context.close()


def drag(viewer: Viewer, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drags over the picture between two places, fractions of it."""
    stage, mouse = viewer.page.locator("#canvas").bounding_box(), viewer.page.mouse
    assert stage is not None
    places = [(stage["x"] + x * stage["width"], stage["y"] + y * stage["height"]) for x, y in (start, end)]
    mouse.move(*places[0])
    mouse.down()
    mouse.move(*places[1], steps=4)
    mouse.up()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_shape_is_drawn_by_dragging_on_the_picture(
    running: RunningPage, browser: Browser, file: Path, width: int
) -> None:
    viewer = open_draw(running, browser, width)
    page = viewer.page
    expect(page.locator("#list li")).to_have_count(2)
    stage, hint = page.locator("#canvas").bounding_box(), page.locator("#draw-said").bounding_box()
    assert stage is not None
    assert hint is not None
    assert hint["y"] < stage["y"]
    assert stage["y"] + stage["height"] <= page.viewport_size["height"]  # type: ignore[index]
    drag(viewer, (0.6, 0.1), (0.9, 0.3))
    expect(page.locator("#draw-said")).to_have_text("First choose under Add what to draw. Then drag on the picture.")
    page.get_by_label("What to add").select_option(label="New rule: zone")
    expect(page.locator("#kind-note")).to_contain_text("It silences no other alarm")
    drag(viewer, (0.6, 0.1), (0.601, 0.101))
    expect(page.locator("#draw-said")).to_have_text("Drag from one corner to the opposite one.")
    expect(page.locator("#list li")).to_have_count(2)
    viewer.check("draw-kind")
    drag(viewer, (0.6, 0.1), (0.1, 0.5))  # over shapes that are there
    expect(page.get_by_role("button", name="Zone (new rule)", exact=True)).to_be_visible()
    expect(page.get_by_label("What to add")).to_have_value("")
    page.get_by_label("What to add").select_option(label="New rule: line")
    drag(viewer, (0.5, 0.9), (0.9, 0.9))
    viewer.check("draw-dragged")
    save(viewer, 'use = "crossing"')
    _, _, zone, line = tomllib.loads(file.read_text())["rules"]
    assert zone["zones"]["zone"][0] == pytest.approx([0.6, 0.1], abs=0.01)
    assert zone["zones"]["zone"][2] == pytest.approx([0.1, 0.5], abs=0.01)
    assert line["line"][1] == pytest.approx([0.9, 0.9], abs=0.01)
    assert viewer.errors == []
    page.context.close()


@pytest.mark.slow
def test_what_the_daemon_would_refuse_cannot_be_saved(running: RunningPage, browser: Browser, file: Path) -> None:
    viewer = open_draw(running, browser, 390)
    page = viewer.page
    page.locator(".handle").first.focus()
    for _ in range(9):  # over the opposite edge
        page.keyboard.press("Shift+ArrowDown")
    page.get_by_role("button", name="Show changes and save").click()
    expect(page.locator("#change-verdict")).to_contain_text("The device would refuse these changes")
    expect(page.locator("#change-verdict")).to_contain_text("cross")
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    viewer.check("draw-refused")
    page.keyboard.press("Escape")
    file.write_text(FILE + "debounce = 2\n")
    page.get_by_role("button", name="Show changes and save").click()
    expect(page.locator("#change-said")).to_contain_text("changed elsewhere")
    page.get_by_role("button", name="Discard changes").click()
    expect(page.get_by_role("button", name="Discard changes")).to_be_disabled()
    expect(page.get_by_role("button", name="Show changes and save")).to_be_disabled()
    assert [each for each in viewer.errors if "409" not in each] == []
    page.context.close()


@pytest.mark.slow
def test_the_keyboard_alone_draws(running: RunningPage, browser: Browser, file: Path) -> None:
    viewer = open_draw(running, browser, 1280)
    page = viewer.page
    page.get_by_label("What to add").focus()
    page.get_by_label("What to add").select_option(label="Zone for the rule site")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.press("Delete")
    expect(page.locator(".handle")).to_have_count(3)
    page.get_by_label("Name").fill("door")
    page.get_by_role("button", name="Show changes and save").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#change-verdict")).to_have_text("The device has checked the changes: they can be saved.")
    page.get_by_role("button", name="Save", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#change-said")).to_contain_text("Saved, but not in use yet")
    zones = tomllib.loads(file.read_text())["rules"][0]["zones"]
    assert zones["door"] == [[0.29, 0.35], [0.7, 0.75], [0.3, 0.75]]
    assert viewer.errors == []
    page.context.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_view_in_korean_and_in_the_dark(
    running: RunningPage, browser: Browser, file: Path, width: int, scheme: str
) -> None:
    viewer = open_draw(running, browser, width, "ko-KR", scheme)
    viewer.check("draw")
    viewer.page.locator("#list .icon").first.click()
    viewer.page.locator("#change-show").click()
    viewer.page.locator("#change-verdict:not(:empty)").wait_for()
    viewer.check("draw-changes")
    viewer.page.context.close()
