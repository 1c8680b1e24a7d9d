"""The head of anomaly models: one score for the frame, and a box around the anomaly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ..prediction import Box, Prediction


class AnomalyHead:
    """`map` (1 x h x w) and `score` (1) -> exactly one prediction.

    Map and score have the same unit, and the score is the maximum of the map. The box surrounds the cells at or above
    the threshold; below the threshold there is no box. After a recalibration, scores are lower by its offset, and cells
    are compared with the threshold before it.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.label = manifest.labels[0]
        self.score_output, self.map_output = manifest.output("score"), manifest.output("map")
        self.offset = 0.0 if manifest.recalibrated is None else manifest.recalibrated.offset
        self.threshold = manifest.threshold
        self.good_scores = manifest.good_scores

    def __call__(
        self, outputs: dict[str, NDArray[Any]], _frame: tuple[int, int] | None = None
    ) -> tuple[Prediction, ...]:
        score = self.score_output.scale * (float(outputs["score"].flat[0]) - self.score_output.zero_point) - self.offset
        box = None
        if score >= self.threshold:
            box = self._bounding_box(outputs["map"].reshape(self.map_output.shape[-2:]))
        p_value = None if self.good_scores is None else float(f"{self.good_scores.p_value(score):.3g}")
        return (Prediction(self.label, round(score, 4), box, p_value=p_value),)

    def _bounding_box(self, integers: NDArray[Any]) -> Box | None:
        level = (self.threshold + self.offset) / self.map_output.scale + self.map_output.zero_point
        rows, columns = np.nonzero(integers >= level)
        if not len(rows):
            return None
        height, width = integers.shape
        left, top = columns.min() / width, rows.min() / height
        right, bottom = (columns.max() + 1) / width, (rows.max() + 1) / height
        return Box(*(round(float(edge), 3) for edge in (left, top, right, bottom)))
