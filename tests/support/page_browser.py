"""A browser before a page: real Chromium, with a check of each view by axe-core, and of the browser's console.

The pictures of the views go to build/screenshots, from where `make docs` takes them. CHROMIUM names another browser
than /usr/bin/chromium.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from page_site import PageSite
from paths import ROOT

from vedette.deploy.setup import configuration_change, request_applier
from vedette.deploy.setup.request_applier import RequestApplier
from vedette.runtime.installation.configuration import change_requests
from vedette.runtime.page.page_server import serve_page

playwright_api = pytest.importorskip("playwright.sync_api")
from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright  # noqa: E402

expect.set_options(timeout=60_000)  # a busy machine
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PICTURES = ROOT / "build" / "screenshots"
WIDTHS = (390, pytest.param(1280, marks=pytest.mark.slow))
MARKS = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium: apt-get install chromium"),
    pytest.mark.xdist_group("browser"),
]


class RunningPage(msgspec.Struct, frozen=True):
    """A served page with the link that signs in."""

    site: PageSite
    link: str

    def address(self, path: str) -> str:
        return self.link.partition("/sign-in")[0] + path


class Window:
    """A browser window that remembers what went wrong in it."""

    def __init__(self, context: BrowserContext, name: str) -> None:
        self.name = name
        self.errors: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on(
            "console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def check(self, view: str) -> None:
        """Takes the picture of a view, and looks for faults in it."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{view}-{self.name}.png")
        found = Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()
        overflow = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{view} is {overflow} pixels wider than the window"
        assert self.errors == [], f"{view}: {self.errors}"


class Viewer(Window):
    """A window before the page of a device."""

    def __init__(self, running: RunningPage, context: BrowserContext, name: str) -> None:
        super().__init__(context, name)
        self.running, self.site = running, running.site

    def sign_in(self) -> None:
        self.page.goto(self.running.link)
        self.page.wait_for_url("**/live/belt")

    def open(self, path: str) -> None:
        self.page.goto(self.running.address(path))


def apply_requests_here(patch: pytest.MonkeyPatch) -> None:
    """Requests of the page are applied by the program that does so, in a thread of this process."""

    def apply(folder: Path) -> None:
        applier = RequestApplier(folder, 0, lambda *_: ["systemctl restart vedette@belt"])
        threading.Thread(target=applier.apply_all).start()

    patch.setattr(change_requests, "apply_without_service", apply)
    patch.setattr(request_applier, "_check_as_service", lambda *_: None)  # the bundle is not there
    patch.setattr(configuration_change, "_interruptible", contextlib.nullcontext)  # this is not the main thread


@contextlib.contextmanager
def serve_site(site: PageSite) -> Iterator[RunningPage]:
    """Serves the page of a site in this process."""
    with site.running(), serve_folder(site.folder) as link:
        yield RunningPage(site, link)


@contextlib.contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serves the page of a configuration in this process; yields the link that signs in."""
    said: list[str] = []
    known = threading.Event()

    def announce(url: str) -> None:
        said.append(url)
        known.set()

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    threading.Thread(target=serve_page, args=(folder, announce, listener), daemon=True).start()
    assert known.wait(60)
    yield said[0]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPage]:
    with serve_site(PageSite(tmp_path_factory.mktemp("browser") / "configuration", events=4)) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def open_viewer(
    running: RunningPage, browser: Browser, width: int, scheme: str = "light", locale: str = "en-US"
) -> Viewer:
    context = open_context(browser, width, scheme, locale)
    return Viewer(running, context, f"{width}-{scheme}-{locale[:2]}")


def open_context(browser: Browser, width: int, scheme: str = "light", locale: str = "en-US") -> BrowserContext:
    size = {"width": width, "height": 844 if width < 500 else 800}
    return browser.new_context(
        viewport=size, color_scheme=scheme, locale=locale, has_touch=width < 500, timezone_id="UTC"
    )  # type: ignore[arg-type]
