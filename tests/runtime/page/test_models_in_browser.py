"""The view Models in real Chromium, with a real daemon: refused, accepted, gone back, and rolled back by the device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from altered_bundles import STORED, sign_altered
from daemon_process import NO_BROKER, DaemonProcess
from page_browser import MARKS, Browser, Window, open_context, serve_folder
from waiting import wait_for

from vedette.runtime.installation.model_store import ModelStore

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [*MARKS, pytest.mark.slow]
ALL_ALARM = 1e-6
"""A threshold with which each frame is an alarm, so that the release decides differently from the one before."""


class Box:
    """A device whose service starts the daemon again whenever it ends."""

    def __init__(self, process: DaemonProcess, key_folder: Path, made: Path) -> None:
        self.process, self.key_folder, self.made = process, key_folder, made
        self.store = ModelStore(process.folder / "state")
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._serve)

    def bundle(self, release: int, **changes: Any) -> Path:
        return sign_altered(self.made / f"weave-{release}.vedette", self.key_folder, release=release, **changes)

    def current(self) -> int | None:
        return self.store.find_model("weave").current

    def _serve(self) -> None:
        while not self.stopping.is_set():
            self.process.start().wait()

    def stop(self) -> None:
        self.stopping.set()
        while self.thread.is_alive():
            self.process.kill()
            self.thread.join(0.2)


@pytest.fixture
def box(tmp_path: Path, key_folder: Path, line_images: Path, call_vedette: Callable[..., Any]) -> Iterator[Box]:
    process = DaemonProcess(tmp_path / "configuration", tmp_path / "weave-1.vedette", key_folder)
    process.configure(f"file:{line_images}?fps=0&loop=true", NO_BROKER)
    with (process.folder / "vedette.toml").open("a") as file:
        file.write('[page]\nlisten = "127.0.0.1:8080"\n')
    box = Box(process, key_folder, tmp_path)
    done = call_vedette("install", box.bundle(1), "--camera", "door", "--config", process.folder)
    assert done.returncode == 0, done.stderr
    box.thread.start()
    yield box
    box.stop()


def install(window: Window, bundle: Path, minutes: str) -> None:
    page = window.page
    page.get_by_label("File of the bundle").set_input_files(bundle)
    page.get_by_role("button", name="Check …").click()
    page.get_by_role("button", name="Install", exact=True).wait_for()
    page.get_by_label("Minutes of probation").fill(minutes)
    window.check(f"models-confirm-{bundle.stem}")
    page.get_by_role("button", name="Install", exact=True).click()
    expect(page.locator("#work")).to_contain_text("Done.", timeout=300_000)


def test_releases_come_stay_and_go(box: Box, browser: Browser) -> None:
    with serve_folder(box.process.folder) as link:
        window = Window(open_context(browser, 390), "390-light-en")
        page = window.page
        page.goto(link)
        page.wait_for_url("**/live/door")
        page.get_by_role("link", name="Health", exact=True).click()
        page.get_by_role("link", name="Install or go back").click()
        expect(page.get_by_text("Release 1", exact=True)).to_be_visible()
        window.check("models")

        page.get_by_label("File of the bundle").set_input_files(STORED / "weave.vedette")
        page.get_by_role("button", name="Check …").click()
        expect(page.locator("#work")).to_contain_text("does not trust this bundle", timeout=120_000)
        window.errors[:] = [each for each in window.errors if "422" not in each]
        window.check("models-refused")
        assert box.current() == 1

        install(window, box.bundle(2), "0.05")
        expect(page.get_by_text("current; it kept to its probation")).to_be_visible(timeout=300_000)
        window.check("models-accepted")
        page.get_by_role("button", name="Go back to release 1 …").click()
        expect(page.locator("#confirm-lines")).to_contain_text("from release 2 to release 1")
        window.check("models-back")
        page.get_by_role("button", name="Go back", exact=True).click()
        expect(page.locator("#work")).to_contain_text("Done.", timeout=120_000)
        wait_for(lambda: box.current() == 1, "the rollback")

        install(window, box.bundle(3, threshold=ALL_ALARM), "10")
        expect(page.get_by_text("rolled back", exact=True)).to_be_visible(timeout=300_000)
        expect(page.locator(".releases")).to_contain_text("it decides differently")
        window.check("models-rolled-back")
        assert box.current() == 1
        assert window.errors == []
        page.context.close()
