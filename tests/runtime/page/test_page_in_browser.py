"""The page in real Chromium, at the width of a phone and of a desk: no console error, no axe violation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_browser import MARKS, WIDTHS, Browser, RunningPage, Viewer, open_viewer

from vedette.runtime.evidence.reviews import ReviewStore

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = MARKS


FROM_BEFORE = re.compile(r"^1?\d?\d\.\d,")
"""Points of the line of the score, of 600 units for a minute, that begin before this visit."""


def check_region(viewer: Viewer) -> None:
    """The alarm stands above the picture on a phone; the region that the daemon runs with is outlined."""
    page, site = viewer.page, viewer.site
    state, picture = page.locator("#state").bounding_box(), page.locator("#picture").bounding_box()
    assert state is not None
    assert picture is not None
    assert state["y"] < picture["y"] if page.viewport_size["width"] < 500 else state["x"] > picture["x"]  # type: ignore[index]
    expect(page.locator("#boxes polygon")).to_have_count(0)
    expect(page.locator("#region-note")).to_be_hidden()
    site.region = ((0.25, 0.1), (0.9, 0.1), (0.9, 0.9), (0.25, 0.9))
    expect(page.locator("#boxes polygon")).to_have_attribute("points", "250,100 900,100 900,900 250,900")
    expect(page.locator("#region-note")).to_contain_text(re.compile(r"In use since (\S+ )?\d\d:\d\d"))
    viewer.check("live-region")
    site.region = ()


def judge(viewer: Viewer, newest: str) -> None:
    page, reviews = viewer.page, ReviewStore(viewer.site.state / "belt")
    page.keyboard.press("f")
    expect(page.get_by_role("status")).to_have_text("Saved.")
    assert reviews.latest()[newest].verdict == "false_alarm"
    korean = {"key": "ㄱ", "code": "KeyR", "bubbles": True}  # the key R with a Korean input method on
    page.locator("#keys").dispatch_event("keydown", korean)
    expect(page.get_by_role("button", name="Right")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("l")
    page.keyboard.type("dirt")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Right")).to_have_attribute("aria-pressed", "false")
    assert reviews.latest()[newest].label == "dirt"
    page.get_by_label("Single keys").focus()


def find_and_export(viewer: Viewer) -> None:
    page = viewer.page
    page.get_by_role("link", name="Events", exact=True).click()
    more = len(viewer.site.later)
    expect(page.locator(".event")).to_have_count(8 + more)
    expect(page.locator(".event .place rect")).to_have_count(4 + more)  # of the pictures that show the whole frame
    viewer.check("events")
    newest = viewer.site.store_event("belt")
    expect(page.locator(".event").first).to_have_attribute("href", f"/events/belt/{newest}")
    expect(page.locator(".event")).to_have_count(9 + more)
    page.get_by_label("Judged").select_option("label")
    expect(page.locator(".event")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "box-7-events.csv"
    assert Path(download.value.path()).read_text().count("\n") == 2


def look_at_health(viewer: Viewer) -> None:
    page = viewer.page
    page.get_by_role("link", name="Health", exact=True).click()
    expect(page.get_by_text("Everything works.")).to_be_visible()
    expect(page.get_by_text("no connection to the broker")).to_be_visible()
    viewer.check("health")
    expect(page.get_by_role("link", name="Log")).to_have_count(0)  # this machine keeps no logs of services
    viewer.open("/health/belt/log")
    viewer.check("log")


@pytest.mark.parametrize("width", WIDTHS)
def test_journey(running: RunningPage, browser: Browser, width: int) -> None:
    """Signs in, watches, finds an event from the reason of an alarm, judges it, and looks at the health."""
    viewer = open_viewer(running, browser, width)
    page, site = viewer.page, viewer.site
    site.store_scores("belt")
    page.goto(running.address("/sign-in"))
    viewer.check("sign-in")
    viewer.sign_in()

    expect(page.locator("#state")).to_have_text("Alarm")
    expect(page.locator("#boxes rect")).to_have_count(1)
    expect(page.locator("#picture")).to_have_js_property("naturalWidth", 640)
    assert page.evaluate("document.getElementById('heat').width") == 28
    assert 0.3 < float(page.locator("#score").inner_text()) < 1
    expect(page.locator("#threshold")).to_have_text("0.6")
    expect(page.locator("#rate")).to_have_text("5.0")
    expect(page.locator("#latency")).to_have_text("41")
    expect(page.locator("#reasons")).to_contain_text("the limit is 0.6")
    expect(page.locator("#relation")).to_contain_text("above the limit 0.6")
    expect(page.locator("#scores")).to_have_attribute("points", FROM_BEFORE)
    viewer.check("live")
    check_region(viewer)
    page.get_by_label("Boxes").uncheck()
    expect(page.locator("#boxes rect")).to_have_count(0)

    site.alarm = False
    expect(page.locator("#state")).to_have_text("No alarm")
    expect(page.locator("#heat-switch")).to_be_hidden()
    expect(page.locator("#reasons")).to_contain_text("Last alarm:")
    site.alarm = True
    page.locator("#reasons a").click()
    newest = site.events["belt"][-1]
    page.wait_for_url(f"**/events/belt/{newest}")
    expect(page.locator(".why")).to_contain_text("above the limit 0.6.")
    judge(viewer, newest)
    page.keyboard.press("j")
    page.wait_for_url(f"**/events/belt/{site.events['belt'][-2]}")
    expect(page.get_by_text("The picture is of the first frame, ")).to_be_visible()
    page.keyboard.press("k")
    page.wait_for_url(f"**/events/belt/{newest}")
    viewer.check("event")

    find_and_export(viewer)
    look_at_health(viewer)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    viewer.open("/health")
    assert page.url.endswith("/sign-in")
    assert viewer.errors == []
    page.context.close()


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_view_in_every_language_and_light(
    running: RunningPage, browser: Browser, width: int, scheme: str, locale: str
) -> None:
    viewer = open_viewer(running, browser, width, scheme, locale)
    viewer.site.store_models()
    viewer.sign_in()
    viewer.page.locator("#picture:visible").wait_for()
    viewer.check("live")
    event, other = (viewer.site.events["belt"][number] for number in (0, 1))
    views = {
        "events": "/events",
        "event": f"/events/belt/{event}",
        "crop": f"/events/belt/{other}",
        "health": "/health",
        "models": "/health/models",
    }
    for view, path in views.items():
        viewer.open(path)
        assert viewer.page.evaluate("document.documentElement.lang") == locale[:2]
        viewer.check(view)
    viewer.page.context.close()


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_rejected_part_has_its_regions_drawn(running: RunningPage, browser: Browser, width: int, locale: str) -> None:
    viewer = open_viewer(running, browser, width, "light", locale)
    viewer.sign_in()
    page, event = viewer.page, viewer.site.store_reject("belt")
    viewer.site.later.append(event)
    viewer.open(f"/events/belt/{event}")
    drawn, picture = page.locator(".findings rect"), page.locator(".shot img").first
    expect(drawn).to_have_count(2)
    expect(page.locator(".findings text").first).to_have_text(re.compile("rim 0.913"))
    expect(picture).to_have_js_property("naturalWidth", 640)
    whole, box = picture.bounding_box(), drawn.first.bounding_box()
    assert whole is not None
    assert box is not None
    assert box["x"] == pytest.approx(whole["x"] + 0.4 * whole["width"], abs=4)
    assert box["y"] + box["height"] == pytest.approx(whole["y"] + 0.62 * whole["height"], abs=4)
    expect(page.locator("table.course").first.locator("tbody tr")).to_have_count(3)
    viewer.check(f"reject-{locale[:2]}")
    page.locator("[data-shows=boxes-of-regions]").uncheck()
    expect(page.locator(".findings")).to_be_hidden()
    expect(page.locator("#heat")).to_be_visible()
    page.context.close()


@pytest.mark.slow
def test_keyboard_alone_reaches_everything(running: RunningPage, browser: Browser) -> None:
    viewer = open_viewer(running, browser, 1280)
    viewer.sign_in()
    viewer.open(f"/events/belt/{viewer.site.events['belt'][0]}")
    reached = []
    for _ in range(30):
        viewer.page.keyboard.press("Tab")
        reached.append(viewer.page.evaluate("document.activeElement.innerText || document.activeElement.id || ''"))
    text = " ".join(reached)
    for wanted in ("Skip to the content", "Live", "Health", "Right", "False alarm", "Missed", "label", "Save"):
        assert wanted in text
    viewer.page.context.close()
