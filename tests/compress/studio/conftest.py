"""The browser of the page's tests, if Playwright is there."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("playwright") is not None:
    from page_browser import browser

    __all__ = ["browser"]
