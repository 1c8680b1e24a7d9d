"""Progress bars for long work, where there is a terminal to draw them on."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from click import progressbar


def track(items: Iterable[Any], label: str) -> Iterable[Any]:
    """`items`, with a bar on stderr that shows how many have been taken."""
    if not sys.stderr.isatty():
        yield from items
        return
    with progressbar(list(items), label=f"          {label:20}", file=sys.stderr) as bar:
        yield from bar
