"""How long something may take, as people write it: `90s`, `30m` or `2h`."""

from __future__ import annotations

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """The same in seconds.

    Raises:
        ValueError: it is no such time.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a time: write 90s, 30m or 2h")
    return float(found[1]) * _SECONDS[found[2]]
