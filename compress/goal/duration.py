"""Durations as text: `90s`, `30m` or `2h`."""

from __future__ import annotations

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def parse_duration(text: str) -> float:
    """Returns the number of seconds that `text` stands for.

    Raises:
        ValueError: `text` is not a duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None:
        raise ValueError(f"{text!r} is not a time: write 90s, 30m or 2h")
    return float(match[1]) * _SECONDS[match[2]]
