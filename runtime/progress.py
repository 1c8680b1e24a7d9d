"""Progress of long work: how functions report it, and the bars that show it at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from click import progressbar

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
"""Wraps a long loop: takes its items and a label, yields the items, and shows how many have been taken."""

Log = Callable[[str], None]
"""Takes one line of text: the step that begins, or a result."""


def show_progress(items: Iterable[Any], label: str) -> Iterable[Any]:
    """Yields `items`, with a progress bar on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    with progressbar(list(items), label=f"          {label:20}", file=sys.stderr) as bar:
        yield from bar


def no_progress(items: Iterable[Any], _label: str) -> Iterable[Any]:
    """Returns `items`, and shows nothing."""
    return items


def no_log(_text: str) -> None:
    """Shows nothing."""
