"""Which frames of a camera are taken so that a frame rate is held: of each interval the frame nearest to its beat.

Taking the first frame after a pause would lose up to half of the rate: of a camera with 25 frames a second, every third
for 10 a second (8.3). Here the beat goes on in even steps, whatever the camera's own rate is, and starts anew after a
gap, so that no burst makes up for it.

It uses the standard library only, because the system's Python of a Raspberry Pi runs the capture process.
"""

from __future__ import annotations


class FramePacer:
    """Decides frame by frame, in the order in which they were taken."""

    def __init__(self) -> None:
        self._due = self._previous = float("-inf")

    def takes(self, at: float, interval: float) -> bool:
        """Whether the frame is taken.

        Args:
            at: when the camera gave it, seconds of a clock that never steps
            interval: seconds between the frames that are wanted; 0: all of them
        """
        half_gap = min(at - self._previous, interval) / 2
        self._previous = at
        if at + half_gap < self._due:
            return False
        self._due = (self._due if at - self._due <= interval else at) + interval
        return True
