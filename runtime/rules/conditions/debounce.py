"""Debouncing in seconds: a boolean changes only after the new value has lasted.

The box of an object at the edge of a zone is inside and outside from frame to frame. The value switches only if every
frame has shown the new one for the given seconds. Seconds instead of frames make the decision independent of the frame
rate and of dropped frames. With 0 seconds each frame decides.
"""

from __future__ import annotations

SLACK = 1e-3  # seconds; 0.1 s after 1.7e9 s is not quite 0.1 s in floating point


class Debounce:
    """A debounced boolean, false at first."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.value = False
        self.changing_since: float | None = None
        """When the other value was first shown, if all frames since then showed it."""

    def update(self, value: bool, moment: float) -> bool:
        """The debounced value after a frame that was taken at this moment and shows `value`."""
        if value == self.value:
            self.changing_since = None
            return self.value
        if self.changing_since is None or moment < self.changing_since:
            self.changing_since = moment
        if moment - self.changing_since >= self.seconds - SLACK:
            self.value, self.changing_since = value, None
        return self.value
