"""The clock of a camera beside that of this machine.

A camera for machine vision stamps each picture with its own clock, which is more even than the arrival of the picture:
that waits for the network and for this process. The difference of the two clocks is taken from the picture that came
soonest after its stamp in the last half minute, so the delay of the others does not count.
"""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 30.0
"""Two clocks differ by some millionths: in this time by no more than about a millisecond."""


class CameraClock:
    """Tells when pictures were taken."""

    def __init__(self) -> None:
        self.differences: deque[tuple[float, float]] = deque()
        """Arrival, and by how much it is later than the stamp; the differences rise."""
        self.last_stamp = 0.0

    def find_time(self, stamp: float, arrival: float, exposed: float | None = None) -> float:
        """When a picture was taken, by the clock of this machine, never later than it arrived.

        Args:
            stamp: of the camera, seconds; one that is 0 or does not rise is none
            arrival: seconds, by the clock of this machine
            exposed: of the camera, seconds, where it says so apart from the stamp
        """
        if stamp <= self.last_stamp:
            self.differences.clear()  # the camera was started anew, or has no clock
            self.last_stamp = stamp
            return arrival
        self.last_stamp = stamp
        difference = arrival - stamp
        while self.differences and self.differences[-1][1] >= difference:
            self.differences.pop()
        self.differences.append((arrival, difference))
        while self.differences[0][0] < arrival - WINDOW_SECONDS:
            self.differences.popleft()
        return min(arrival, (stamp if exposed is None else exposed) + self.differences[0][1])
