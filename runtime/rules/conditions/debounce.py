"""A yes or no that is believed once it has lasted.

Who trembles on the edge of a zone is in it and out of it with every frame. Either answer is taken only when every
frame for so many seconds has given it, so one frame alone decides nothing. It is seconds and not frames, so that a
camera that is slower or drops frames decides no later; with 0 each frame decides.
"""

from __future__ import annotations

SLACK = 1e-3  # seconds; 0.1 s after 1.7e9 s is not quite 0.1 s in floating point


class Inertia:
    """See above."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.value = False
        self.turning: float | None = None
        """When the other answer was first given, if all since then gave it."""

    def show(self, value: bool, taken: float) -> bool:
        """What is believed, now that a frame taken then says `value`."""
        if value == self.value:
            self.turning = None
            return self.value
        if self.turning is None or taken < self.turning:
            self.turning = taken
        if taken - self.turning >= self.seconds - SLACK:
            self.value, self.turning = value, None
        return self.value
