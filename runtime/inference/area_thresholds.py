"""Thresholds of single areas of the part, and areas that raise no alarm.

An area that varies more among good parts gets a higher threshold than the rest. That is the same as lowering the cells
of the anomaly map in the area by the difference, `offset`, and comparing the frame's one score with one threshold:

    adjusted map    the map less the offset of each cell; cells of ignored areas count as the lowest cell
    score           the model's score, less the amount by which the highest cell became lower
    area            where the highest adjusted cell lies

The amount is rounded to steps of the model's score, so scores stay multiples of the step.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import InspectionArea, Manifest, ModelOutput

Polygon = tuple[tuple[float, float], ...]


class AreaThresholds:
    """Applies the thresholds of the areas to the model's score and map.

    Args:
        areas: where cells belong to several, the first one counts
        region: polygon whose bounding rectangle the model sees, in the same coordinates; empty: the whole frame
        score: the output with the score
        cells: height and width of the map
    """

    def __init__(
        self, areas: tuple[InspectionArea, ...], region: Polygon, score: ModelOutput, cells: tuple[int, int]
    ) -> None:
        self.names, self.step = [area.name for area in areas], score.scale
        self.areas, self.lowest, self.highest = areas, -score.scale * score.zero_point, score.highest
        self.area_of_cell = locate_areas([area.polygon for area in areas], region, cells)
        self.offset, self.ignored = np.zeros(cells), np.zeros(cells, bool)
        for index, area in enumerate(areas):
            inside = self.area_of_cell == index
            self.offset[inside], self.ignored[inside] = area.offset, area.ignore

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> AreaThresholds | None:
        """Those of a bundle; None if it has no areas."""
        if manifest.inspect is None or not manifest.inspect.areas:
            return None
        rows, columns = manifest.output("map").shape[-2:]
        return cls(manifest.inspect.areas, manifest.inspect.region, manifest.output("score"), (rows, columns))

    def adjust_map(self, anomaly_map: NDArray[Any], counted: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """The map less the offsets, H x W; real values.

        Args:
            anomaly_map: map of the model, H x W, real values
            counted: the cells that count, H x W, of those that are not ignored; None: all
        """
        adjusted = np.asarray(anomaly_map - self.offset)
        adjusted[self.ignored if counted is None else self.ignored | ~counted] = adjusted.min()
        return adjusted

    def adjust_score(self, score: float, anomaly_map: NDArray[Any], adjusted: NDArray[Any]) -> float:
        """The score of the frame, within what the model can give.

        Args:
            score: score of the model
            anomaly_map: map of the model, H x W, real values
            adjusted: the same from `adjust_map`
        """
        lowered = round(float(anomaly_map.max() - adjusted.max()) / self.step) * self.step
        return min(max(score - lowered, self.lowest), self.highest)

    def name_of_highest(self, adjusted: NDArray[Any]) -> str | None:
        """The area of the highest adjusted cell; None: it is in no area."""
        index = int(self.area_of_cell.flat[int(adjusted.argmax())])
        return None if index < 0 else self.names[index]


def locate_areas(polygons: list[Polygon], region: Polygon, cells: tuple[int, int]) -> NDArray[np.int64]:
    """The index of the polygon that each cell of the map belongs to, H x W; -1: to none.

    A cell belongs to a polygon that covers its center or that touches it there; the first one counts.

    Args:
        polygons: as fractions 0…1 of the aligned frame
        region: polygon whose bounding rectangle the map covers; empty: the whole frame
        cells: height and width of the map
    """
    corners = np.array(region or [(0, 0), (1, 1)], float)
    origin, extent = corners.min(axis=0), np.ptp(corners, axis=0)
    found = np.full(cells, -1)
    for index in reversed(range(len(polygons))):
        points = (np.array(polygons[index]) - origin) / extent * [cells[1], cells[0]] - 0.5
        inside = cv2.fillPoly(np.zeros(cells, np.uint8), [np.rint(points).astype(np.int32)], 1)
        found[inside > 0] = index
    return found
