"""One score for the whole part, and a box around what made it high."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ..prediction import Box, Prediction


class Anomaly:
    """`map` (1 x h x w) and `score` (1) -> exactly one prediction.

    The map has the score's unit, and the score is its maximum, so the box is drawn around the cells at or above the
    threshold; below the threshold there is none.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.label = manifest.labels[0]
        self.score, self.map = manifest.output("score"), manifest.output("map")
        self.threshold = manifest.threshold

    def __call__(
        self, outputs: dict[str, NDArray[Any]], _frame: tuple[int, int] | None = None
    ) -> tuple[Prediction, ...]:
        score = self.score.scale * (float(outputs["score"].flat[0]) - self.score.zero_point)
        box = None
        if score >= self.threshold:
            box = self._box(outputs["map"].reshape(self.map.shape[-2:]))
        return (Prediction(self.label, round(score, 4), box),)

    def _box(self, integers: NDArray[Any]) -> Box | None:
        level = self.threshold / self.map.scale + self.map.zero_point
        rows, columns = np.nonzero(integers >= level)
        if not len(rows):
            return None
        height, width = integers.shape
        left, top = columns.min() / width, rows.min() / height
        right, bottom = (columns.max() + 1) / width, (rows.max() + 1) / height
        return Box(*(round(float(edge), 3) for edge in (left, top, right, bottom)))
