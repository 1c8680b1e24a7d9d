"""Which picture belongs to which part.

A camera that runs by itself: a picture belongs to the part whose trigger was the last before its exposure. So an older
frame never counts, and a part without a picture before the next one came has none; nobody can say what a later picture
would show of it.

A recording: each part takes the next picture, as from a camera that exposes on command, in the order of the triggers.
"""

from __future__ import annotations

from collections import deque

import msgspec


class AwaitedPart(msgspec.Struct):
    """A part that waits for pictures."""

    number: int
    ready: float
    """Moment from which a picture shows the part: its trigger and the delay."""
    missing: int
    """Pictures that are still missing."""


class PictureQueue:
    """Parts that wait for pictures, oldest first. Not thread-safe.

    Args:
        delay: seconds from a trigger until the part is in front of the camera
        pictures: of each part
    """

    def __init__(self, delay: float, pictures: int) -> None:
        self.delay, self.pictures = delay, pictures
        self.waiting: deque[AwaitedPart] = deque()

    def add(self, number: int, triggered: float) -> None:
        """A part arrives."""
        self.waiting.append(AwaitedPart(number, triggered + self.delay, self.pictures))

    def drop(self, number: int) -> None:
        """A part has its verdict and needs no picture."""
        self.waiting = deque(part for part in self.waiting if part.number != number)

    def claim(self, exposed: float) -> tuple[int | None, list[int]]:
        """The part that a picture shows, None if it is nobody's; and the parts that it proves to have been missed."""
        reached = [part for part in self.waiting if part.ready <= exposed]
        if not reached:
            return None, []
        *missed, part = reached
        for each in missed:
            self.waiting.remove(each)
        self._take_one(part)
        return part.number, [each.number for each in missed]

    def claim_next(self) -> int | None:
        """The oldest part: it gets the next picture of a recording."""
        if not self.waiting:
            return None
        part = self.waiting[0]
        self._take_one(part)
        return part.number

    def next_ready(self) -> float | None:
        """Moment from which the oldest part can be taken a picture of; None: no part waits."""
        return self.waiting[0].ready if self.waiting else None

    def _take_one(self, part: AwaitedPart) -> None:
        part.missing -= 1
        if not part.missing:
            self.waiting.remove(part)
