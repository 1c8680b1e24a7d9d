"""Boxes that were seen lately. What has their place and size is the same thing, also where a detector misses it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from ...inference.prediction import Box

_STEP_SECONDS = 0.5  # boxes are noted no more often
_LEAST_OVERLAP = 0.4  # IoU


class RecentBoxes:
    """Boxes of the last seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.noted: deque[tuple[float, tuple[float, float, float, float]]] = deque()
        self.last_noted = -np.inf

    def note(self, moment: float, boxes: Iterable[Box]) -> None:
        """Remembers the boxes of a frame, and forgets old ones. A moment before the last one forgets all."""
        if moment < self.last_noted:
            self.noted.clear()
        elif moment - self.last_noted < _STEP_SECONDS:
            return
        self.last_noted = moment
        self.noted += [(moment, (box.left, box.top, box.right, box.bottom)) for box in boxes]
        while self.noted and moment - self.noted[0][0] > self.seconds:
            self.noted.popleft()

    def any_like(self, box: Box) -> bool:
        """True if a remembered box overlaps with `box` by 40 % or more (IoU)."""
        if not self.noted:
            return False
        left, top, right, bottom = np.array([each for _, each in self.noted]).T
        wide = np.minimum(right, box.right) - np.maximum(left, box.left)
        high = np.minimum(bottom, box.bottom) - np.maximum(top, box.top)
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        whole = (right - left) * (bottom - top) + (box.right - box.left) * (box.bottom - box.top) - shared
        return bool((shared >= _LEAST_OVERLAP * whole).any())
