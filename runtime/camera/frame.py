"""One frame of a camera, and its two times.

Users read the wall time, which can be set while the daemon runs. All decisions use the moment, which nobody can set:
intervals, waits and ages stay right if the wall clock steps. Only schedules (hours and days) need the wall time.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_STEP_SECONDS = 0.5  # a smaller change of the difference between wall time and moment is no step of the clock


class FrameTime(msgspec.Struct, frozen=True):
    """When a frame was taken."""

    taken: float
    """Seconds since 1970, UTC, as the wall clock was set then."""
    moment: float
    """Seconds of a clock that never steps."""

    def by_clock_at(self, now: FrameTime) -> float:
        """The same time as the wall clock is set `now`: seconds since 1970, UTC, and not later than `now`.

        It differs from `taken` only if the wall clock has stepped in between. A `now` before this time, as at the start
        of another recording, changes nothing.
        """
        if now.moment < self.moment:
            return self.taken
        step = (now.taken - now.moment) - (self.taken - self.moment)
        return min(self.taken + step if abs(step) > _STEP_SECONDS else self.taken, now.taken)


class Frame(msgspec.Struct, frozen=True, eq=False):
    """A frame, as sources yield it."""

    camera: str
    number: int
    """Counts from 0 for each start of the daemon."""
    taken: float
    """Time of capture: seconds since 1970, UTC. Events and schedules use it; it jumps if the wall clock is set."""
    pixels: NDArray[Any]
    """H x W x 3, uint8, blue-green-red as OpenCV delivers it, read-only."""
    moment: float = nan
    """Time of capture: seconds of a clock that never steps, from any origin. All decisions use it. A camera has the
    monotonic clock of the machine; a recording has its own time. Not given: `taken`.
    """

    hidden: bool = False
    """True: nobody may see the picture, because its privacy zones may not lie where they should (view_guard.py)."""

    def __post_init__(self) -> None:
        if isnan(self.moment):
            msgspec.structs.force_setattr(self, "moment", self.taken)

    @property
    def shown(self) -> NDArray[Any]:
        """The pixels that people may see, H x W x 3, uint8; black if the picture is hidden."""
        return np.zeros_like(self.pixels) if self.hidden else self.pixels

    @property
    def time(self) -> FrameTime:
        """Both times of the frame."""
        return FrameTime(self.taken, self.moment)
