"""The view Threshold in real Chromium: drag the line by mouse and keys, read what it would do, save, undo."""

from __future__ import annotations

import re

import pytest
from page_browser import MARKS, WIDTHS, Browser, RunningPage, apply_requests_here, open_viewer
from page_site import PRODUCTS

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = MARKS


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_threshold(running: RunningPage, browser: Browser, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    apply_requests_here(monkeypatch)
    site = running.site
    site.store_scores("belt")
    camera_file = site.folder / "cameras" / "belt.toml"
    original = camera_file.read_text()
    viewer = open_viewer(running, browser, width)
    page = viewer.page
    viewer.sign_in()
    page.get_by_role("link", name="Threshold", exact=True).click()
    slider = page.get_by_role("slider", name="Threshold")
    expect(page.locator("#alarms")).to_have_text("6 per hour")
    expect(page.locator("#source")).to_contain_text("180 good images")
    expect(page.get_by_text("have left the band of the workshop: 12% above")).to_be_visible()
    viewer.check("threshold")

    place = slider.bounding_box()
    x, y = place["x"] + 16 + (place["width"] - 32) * 0.6 / float(slider.get_attribute("max")), place["y"] + 90
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] - 22, y, steps=4)
    page.mouse.up()
    expect(page.locator("#alarms")).to_have_text("0 per hour")
    expect(page.locator("#source")).to_contain_text("extrapolation")
    chosen = float(slider.input_value())
    page.keyboard.press("ArrowRight")
    assert float(slider.input_value()) > chosen > 0.6
    told = re.compile(rf"{re.escape(slider.input_value())}; 0 per hour; .* of 1,000 good parts")
    expect(slider).to_have_attribute("aria-valuetext", told)

    page.get_by_role("button", name="Save …").click()
    expect(page.locator("#change-lines [data-sign='+']")).to_have_text(f"+ threshold = {slider.input_value()}")
    viewer.check("threshold-difference")
    assert camera_file.read_text() == original
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#change-said")).to_contain_text("Saved, but not in use yet")
    assert f"threshold = {slider.input_value()}\n" in camera_file.read_text()
    page.get_by_role("button", name=re.compile("^Undo: threshold of the rule presence: the model's own → ")).click()
    expect(page.locator("#change-about")).to_contain_text("This takes back what the page changed at")
    expect(page.locator("#change-lines [data-sign='-']")).to_have_text(f"- threshold = {slider.input_value()}")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#change-said")).to_contain_text("Saved, but not in use yet")
    assert camera_file.read_text() == original
    assert viewer.errors == []
    page.context.close()


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
@pytest.mark.parametrize("width", [390, 1280])
def test_product_of_a_line(running: RunningPage, browser: Browser, width: int, locale: str) -> None:
    site = running.site
    camera_file = site.folder / "cameras" / "door.toml"
    original = camera_file.read_text()
    camera_file.write_text(PRODUCTS)
    site.store_scores("door")
    site.store_scores("door", 2.0, below="products/2")
    viewer = open_viewer(running, browser, width, "light", locale)
    viewer.sign_in()
    viewer.errors.clear()
    page = viewer.page
    viewer.open("/threshold/door")
    page.get_by_role("link", name="right door").click()
    expect(page.locator("#slider")).to_have_attribute("data-now", "0.7")
    expect(page.locator("#alarms")).to_have_text("8.3 of 1,000 parts" if locale == "en-US" else "부품 1,000개 중 8.3개")
    page.locator("#slider").focus()
    page.keyboard.press("End")
    expect(page.locator("#alarms")).to_have_text("0 of 1,000 parts" if locale == "en-US" else "부품 1,000개 중 0개")
    viewer.check(f"threshold-product-{locale[:2]}")
    page.locator("#change-show").click()
    expect(page.locator("#change-list li")).to_contain_text(f"right door{':' if locale == 'en-US' else ''}")
    expect(page.locator("#change-list li")).to_contain_text("0.7 → 0.8")
    viewer.check(f"threshold-product-difference-{locale[:2]}")
    camera_file.write_text(original)
    page.context.close()


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_language_and_light(running: RunningPage, browser: Browser, width: int, scheme: str, locale: str) -> None:
    running.site.store_scores("belt")
    viewer = open_viewer(running, browser, width, scheme, locale)
    viewer.sign_in()
    viewer.errors.clear()  # more viewers than the live view takes have signed in within seconds (429)
    for camera in ("belt", "door"):  # the second one has no scores
        viewer.open(f"/threshold/{camera}")
        viewer.page.locator("h2").first.wait_for()
        viewer.page.wait_for_timeout(300)
        viewer.check(f"threshold-{camera}")
    viewer.page.context.close()
