"""The way from the sensor to the camera in counts of an encoder, so that a belt may change its speed or stop."""

from __future__ import annotations

from collections import deque

_MOST = 256  # parts between sensor and camera; more only if the encoder does not count


class EncoderDistance:
    """Parts between the sensor and the camera, oldest first. Not thread-safe.

    Args:
        distance: counts from the sensor to the camera
    """

    def __init__(self, distance: int) -> None:
        self.distance, self.counted = distance, 0
        self.targets: deque[tuple[int, float]] = deque()
        """For each part the count at which it is in front of the camera, and when it was at the sensor."""

    def add(self, at: float) -> float | None:
        """A part is at the sensor. Returns the time of the oldest one if there are too many; it is given up."""
        self.targets.append((self.counted + self.distance, at))
        return self.targets.popleft()[1] if len(self.targets) > _MOST else None

    def count(self, at: float, counts: int = 1) -> list[float]:
        """The belt moves. Returns, for each part that is now in front of the camera, when it was at the sensor."""
        self.counted += counts
        reached = []
        while self.targets and self.targets[0][0] <= self.counted:
            reached.append(self.targets.popleft()[1])
        return reached

    def clear(self) -> list[float]:
        """Forgets all parts, for what happened in the meantime is not known. Returns when each was at the sensor."""
        times = [at for _, at in self.targets]
        self.targets.clear()
        return times
