"""That a design is searched for, as a goal file says it; how that is done stands in search.py of the workshop."""

from __future__ import annotations

import msgspec

from .duration import seconds


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the technique; it makes no model, but chooses what is to be made."""

    time: str
    """What it may take in all: `90s`, `30m` or `2h`."""

    def __post_init__(self) -> None:
        seconds(self.time)
