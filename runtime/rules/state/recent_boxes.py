"""Boxes that were seen lately. What has their place and size is the same thing, also where a detector misses it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf

from ...inference.prediction import Box
from ...tracking.assignment import box_array, iou_matrix

_STEP_SECONDS = 0.5  # boxes are noted no more often
_LEAST_OVERLAP = 0.4  # IoU


class RecentBoxes:
    """Boxes of the last seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.noted: deque[tuple[float, Box]] = deque()
        self.last_noted = -inf

    def note(self, moment: float, boxes: Iterable[Box]) -> None:
        """Remembers the boxes of a frame, and forgets old ones. A moment before the last one forgets all."""
        if moment < self.last_noted:
            self.noted.clear()
        elif moment - self.last_noted < _STEP_SECONDS:
            return
        self.last_noted = moment
        self.noted += [(moment, box) for box in boxes]
        while self.noted and moment - self.noted[0][0] > self.seconds:
            self.noted.popleft()

    def any_like(self, box: Box) -> bool:
        """True if a remembered box overlaps with `box` by 40 % or more (IoU)."""
        iou = iou_matrix(box_array([box]), box_array(each for _, each in self.noted))
        return bool((iou >= _LEAST_OVERLAP).any())
