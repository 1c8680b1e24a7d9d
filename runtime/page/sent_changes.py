"""The changes of cameras' files that this page has asked for, kept in memory so that they can be undone."""

from __future__ import annotations

import msgspec

MAX_UNDO = 20
"""Changes that can be undone, of all cameras; they are lost when the page restarts."""


class SentChange(msgspec.Struct, frozen=True):
    """A change that was asked for."""

    camera: str
    before: str
    """Text of the file before it."""
    after: str


class SentChanges:
    """The last changes by the ID of their request, to undo them."""

    def __init__(self) -> None:
        self.changes: dict[str, SentChange] = {}

    def find_last(self, camera: str, present: str) -> str:
        """The ID of the change that made the present text of a camera's file; empty: none that is known."""
        made = [key for key, each in self.changes.items() if (each.camera, each.after) == (camera, present)]
        return made[-1] if made else ""

    def remember(self, identity: str, change: SentChange) -> None:
        """Keeps a change; the oldest one goes if there are too many."""
        self.changes[identity] = change
        while len(self.changes) > MAX_UNDO:
            del self.changes[next(iter(self.changes))]
