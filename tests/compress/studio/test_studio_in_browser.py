"""The way from images to a release in real Chromium, by the command as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from page_browser import MARKS, Browser, Window, open_context

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [*MARKS, pytest.mark.slow]

BUILD_SECONDS = 900


class Studio(msgspec.Struct):
    """The command, running."""

    folder: Path
    config: Path
    link: str

    def address(self, path: str) -> str:
        return self.link.partition("/sign-in")[0] + path


def draw_part(path: Path, seed: int, has_defect: bool) -> None:
    generator = np.random.default_rng(seed)
    image = np.clip(generator.normal(150, 12, (96, 128, 3)), 0, 255).astype(np.uint8)
    center = tuple(int(each) for each in (64 + generator.integers(-3, 4), 48 + generator.integers(-3, 4)))
    cv2.circle(image, center, 30, (60, int(90 + generator.integers(0, 30)), 160), -1)
    if has_defect:
        cv2.line(image, (center[0] - 20, center[1] - 5), (center[0] + 20, center[1] + 9), (250, 250, 250), 3)
    cv2.imwrite(str(path), image)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("pictures")
    found = {
        "good": [folder / f"good {seed}.png" for seed in range(12)],
        "defect": [folder / f"bad-{seed}.png" for seed in range(4)],
    }
    for label, paths in found.items():
        for seed, path in enumerate(paths):
            draw_part(path, seed + 100 * (label == "defect"), label == "defect")
    return found


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    command = [sys.executable, "-m", "vedette.runtime.cli", "studio", str(folder / "washer"), "--port", "0"]
    environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "config")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        yield Studio(folder / "washer", folder / "config", said.removeprefix("open ").strip())
        process.terminate()


class Windows:
    """A wide window that works and a narrow one that looks at the same views."""

    def __init__(self, studio: Studio, browser: Browser) -> None:
        self.studio = studio
        self.wide = Window(open_context(browser, 1280), "1280")
        self.narrow = Window(open_context(browser, 390, locale="ko-KR"), "390-ko")
        for window in (self.wide, self.narrow):
            window.page.goto(studio.link)
            window.page.wait_for_url("**/images")

    def check(self, view: str) -> None:
        self.wide.check(f"studio-{view}")
        self.narrow.page.goto(self.wide.page.url)
        self.narrow.check(f"studio-{view}")


def test_from_images_to_a_release(studio: Studio, pictures: dict[str, list[Path]], browser: Browser) -> None:
    """Drops images, audits, drops one of them, marks a defect, sets a goal, builds twice, and compares."""
    windows = Windows(studio, browser)
    page = windows.wide.page
    windows.check("empty")
    page.set_input_files("#files", pictures["good"])
    expect(page.locator(".tile")).to_have_count(12, timeout=120_000)
    page.get_by_role("link", name="Defects ·", exact=False).first.click()
    page.wait_for_url("**/images?label=defect*")  # and its scripts, which read the chosen files
    page.set_input_files("#files", pictures["defect"])
    expect(page.locator(".tile")).to_have_count(4, timeout=120_000)
    windows.check("images")
    assert (studio.folder / "good/good_0.png").read_bytes() == pictures["good"][0].read_bytes()

    page.get_by_role("link", name="Audit", exact=True).click()
    page.get_by_role("button", name="Check the images").click()
    expect(page.get_by_text("16 images checked")).to_be_visible(timeout=300_000)
    windows.check("audit")
    page.goto(studio.address("/images"))
    page.get_by_role("button", name="Keep good/good_3.png").click()
    expect(page.locator("[data-dropped]")).to_have_count(1)
    assert "good/good_3.png" not in (studio.folder / "keep.csv").read_text()

    mark_defect(windows)
    set_goal(windows)
    build(windows)
    build(windows)
    page.get_by_role("link", name="Releases", exact=True).click()
    expect(page.locator("iframe")).to_have_count(2)
    for place, release in ((0, 2), (1, 1)):
        report = page.frame_locator("iframe").nth(place)
        expect(report.locator("h1")).to_contain_text(f"washer, release {release}")
    windows.check("releases")
    expect(windows.narrow.page.frame_locator("iframe").nth(1).locator("h1")).to_contain_text("washer, release 1")
    page.get_by_label("Address of the box").fill("pi@belt")
    commands = page.locator("#commands").inner_text()
    assert "sudo vedette keys trust workshop.pub" in commands
    keyring = Keyring.read(studio.config / "vedette/keys")
    manifest = Bundle.open(studio.folder / "builds/2/washer.vedette", keyring).manifest
    assert manifest.release == 2
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save the bundle").first.click()
    assert Path(saved.value.path()).read_bytes() == (studio.folder / "builds/2/washer.vedette").read_bytes()


def mark_defect(windows: Windows) -> None:
    page = windows.wide.page
    page.goto(windows.studio.address("/mark?name=defect/bad-0.png"))
    area = page.locator("#marks").bounding_box()
    assert area is not None
    page.mouse.move(area["x"] + area["width"] / 4, area["y"] + area["height"] / 4)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 3 / 4, area["y"] + area["height"] * 3 / 4)
    page.mouse.up()
    page.get_by_role("button", name="Brush").click()
    page.locator("#marks").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Save the mark").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    mask = cv2.imread(str(windows.studio.folder / "masks/bad-0.png"), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    assert (mask > 0).mean() == pytest.approx(0.25, abs=0.02)
    windows.check("mark")


def set_goal(windows: Windows) -> None:
    page = windows.wide.page
    page.get_by_role("link", name="Goal", exact=True).click()
    expect(page.get_by_text("With 11 good images no rate can be proven.")).to_be_visible()
    slider = page.get_by_role("slider", name="False alarms: at most")
    slider.focus()
    slider.press("End")
    page.get_by_role("button", name="Save the goal").click()
    expect(page.get_by_text("Saved in goal.toml.")).to_be_visible()
    windows.check("goal")
    keys = tomllib.loads((windows.studio.folder / "goal.toml").read_text())
    assert keys["goal"] == {"false_alarm_rate": 0.2}
    assert keys["data"] == {"good": "good", "defect": "defect", "mask": "masks", "list": "keep.csv"}


def build(windows: Windows) -> None:
    page = windows.wide.page
    page.get_by_role("link", name="Builds", exact=True).first.click()
    windows.check("builds")
    page.get_by_role("button", name="Start the build").click()
    page.wait_for_url("**/builds/*")
    expect(page.get_by_text("reading the images")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("link", name="Read the report")).to_be_visible(timeout=BUILD_SECONDS * 1000)
    windows.check("build")
    page.get_by_role("link", name="Read the report").click()
    expect(page.locator("h1")).to_contain_text("washer")
    assert windows.wide.errors == []
    page.go_back()


def test_cancelled_build_says_so(studio: Studio, pictures: dict[str, list[Path]], browser: Browser) -> None:
    """Needs the goal of the journey above."""
    if not (studio.folder / "goal.toml").exists():
        pytest.skip("the journey did not come to a goal")
    windows = Windows(studio, browser)
    page = windows.wide.page
    page.goto(studio.address("/builds"))
    page.get_by_role("button", name="Start the build").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled")).to_be_visible(timeout=60_000)
    windows.check("cancelled")
