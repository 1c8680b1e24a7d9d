"""The head of anomaly models: one score for the frame, and a box around the anomaly."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ..area_thresholds import AreaThresholds
from ..prediction import Box, Prediction


class AnomalyHead:
    """`map` (1 x h x w) and `score` (1) -> exactly one prediction.

    Map and score have the same unit. Areas with thresholds of their own change both (area_thresholds.py). At or above
    the threshold there is a box around the anomaly. After a recalibration, scores are lower by its offset.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.label = manifest.labels[0]
        self.score_output, self.map_output = manifest.output("score"), manifest.output("map")
        self.offset = 0.0 if manifest.recalibrated is None else manifest.recalibrated.offset
        self.threshold = manifest.threshold
        self.good_scores = manifest.good_scores
        self.areas = AreaThresholds.from_manifest(manifest)
        self.counted: NDArray[np.bool_] | None = None
        """The cells that count, h x w; None: all."""
        self.last_map: NDArray[Any] | None = None
        """The map of the last frame, h x w: adjusted values if there are areas, otherwise integers of the model."""

    def count_only(self, cells: NDArray[np.bool_]) -> None:
        """From now on cells outside of these, h x w, count as the lowest cell of the map."""
        if self.areas is None:
            self.areas = AreaThresholds((), (), self.score_output, cells.shape)
        self.counted = cells

    def __call__(
        self, outputs: dict[str, NDArray[Any]], _frame: tuple[int, int] | None = None
    ) -> tuple[Prediction, ...]:
        score = self.score_output.scale * (float(outputs["score"].flat[0]) - self.score_output.zero_point)
        anomaly_map, area = outputs["map"].reshape(self.map_output.shape[-2:]), None
        if self.areas is not None:
            values = self.map_output.scale * (anomaly_map.astype(np.float32) - self.map_output.zero_point)
            anomaly_map = self.areas.adjust_map(values, self.counted)
            score = self.areas.adjust_score(score, values, anomaly_map)
            area = self.areas.name_of_highest(anomaly_map)
        score -= self.offset
        self.last_map = anomaly_map
        box = surround(find_peak(anomaly_map)) if score >= self.threshold else None
        p_value = None if self.good_scores is None else float(f"{self.good_scores.p_value(score):.3g}")
        return (Prediction(self.label, round(score, 4), box, p_value=p_value, area=area),)

    def heat_map(self) -> NDArray[np.float32] | None:
        """The anomaly map of the last frame: h x w, in the unit of the score, NaN in cells that do not count; None
        before the first frame.
        """
        if self.last_map is None:
            return None
        values = self.last_map.astype(np.float32)
        if self.areas is None:
            values = np.float32(self.map_output.scale) * (values - self.map_output.zero_point)
        values = values - np.float32(self.offset)
        return np.asarray(values if self.counted is None else np.where(self.counted, values, np.nan), np.float32)


def find_peak(anomaly_map: NDArray[Any]) -> NDArray[Any]:
    """The cells of the strongest anomaly, H x W, bool: those connected with the highest cell whose value is at least
    half way from the median of the map to the highest (half maximum).

    On biscuits, magnetic tiles and ball screws the rectangle around them overlaps that of the defects better than that
    around all cells above the threshold (docs/accuracy-experiments.md).

    Args:
        anomaly_map: H x W, integers or real values
    """
    values = anomaly_map.astype(np.float32)
    median = float(np.median(values))
    above = values >= median + (float(values.max()) - median) / 2
    _, labels = cv2.connectedComponents(above.astype(np.uint8))
    return np.asarray(labels == labels[np.unravel_index(int(values.argmax()), values.shape)])


def surround(cells: NDArray[Any]) -> Box:
    """The rectangle around cells of a map, H x W, bool, at least one of them set."""
    rows, columns = np.nonzero(cells)
    height, width = cells.shape
    left, top = columns.min() / width, rows.min() / height
    right, bottom = (columns.max() + 1) / width, (rows.max() + 1) / height
    return Box(*(round(float(edge), 3) for edge in (left, top, right, bottom)))
