"""Fixtures of the tests that look at the page in a browser."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("playwright") is not None:
    from page_browser import browser, running

    __all__ = ["browser", "running"]
