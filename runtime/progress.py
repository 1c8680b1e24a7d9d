"""Progress of long work: how functions report it, and the bars that show it at a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from click import progressbar

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
"""Wraps a long loop: takes its items and a label, yields the items, and shows how many have been taken."""

Log = Callable[[str], None]
"""Takes one line of text: the step that begins, or a result."""


LINES_VARIABLE = "VEDETTE_PROGRESS_LINES"
"""If it is set in the environment, progress is told in lines, for a program that reads them."""
_LINE_SECONDS = 0.5


def show_progress(items: Iterable[Any], label: str) -> Iterable[Any]:
    """Yields `items`, with a progress bar on stderr if that is a terminal."""
    if os.environ.get(LINES_VARIABLE):
        yield from _tell_in_lines(list(items), label)
        return
    if not sys.stderr.isatty():
        yield from items
        return
    with progressbar(list(items), label=f"          {label:20}", file=sys.stderr) as bar:
        yield from bar


def _tell_in_lines(items: list[Any], label: str) -> Iterable[Any]:
    """Yields `items`, with a line on stderr every half second and at the end."""
    last = 0.0
    for done, item in enumerate(items):
        if time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            sys.stderr.write(f"progress: {label} {done} of {len(items)}\n")
            sys.stderr.flush()
        yield item
    sys.stderr.write(f"progress: {label} {len(items)} of {len(items)}\n")


def no_progress(items: Iterable[Any], _label: str) -> Iterable[Any]:
    """Returns `items`, and shows nothing."""
    return items


def no_log(_text: str) -> None:
    """Shows nothing."""
