"""Places in the picture, as a person draws them: points are [x, y], fractions 0…1 from the top left.

A thing is where its feet are: the middle of its box's lower edge. Where the lower part is hidden, or cut off by the
picture's edge, the feet are taken to be where the box ends, and so too far away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ...config.polygon import Point, Polygon, knot
from ...errors import ConfigProblem
from ...inference.prediction import Box

WHOLE: Polygon = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
_LEAST = 1e-6  # of the picture; less is no area


def foot(box: Box) -> Point:
    """The middle of its lower edge, inside the picture."""
    x = (box.left + box.right) / 2
    return min(max(x, 0.0), 1.0), min(max(box.bottom, 0.0), 1.0)


class Region:
    """A polygon; its edge belongs to it."""

    def __init__(self, points: Polygon, key: str) -> None:
        """`key` is where a person wrote them.

        Raises:
            ConfigProblem: they enclose nothing, or not one thing.
        """
        inside_picture(points, key)
        if len(points) < 3:
            raise ConfigProblem(f"{key}: {len(points)} points", hint="a polygon has at least three")
        if crossed := knot(points):
            hint = "give the points in order around it"
            raise ConfigProblem(f"{key}: the edges from {crossed[0]} and from {crossed[1]} cross", hint=hint)
        self.contour = np.array(points, np.float32)
        if cv2.contourArea(self.contour) < _LEAST:
            raise ConfigProblem(f"{key}: it encloses nothing", hint="give points that do not lie on one line")

    def holds(self, point: Point) -> bool:
        return bool(cv2.pointPolygonTest(self.contour, point, False) >= 0)


class Area:
    """Where a rule looks: one region, several with names, or the whole picture."""

    def __init__(self, name: str, polygon: Polygon | None, zones: Mapping[str, Polygon]) -> None:
        """`name`: of a single region."""
        if polygon is not None and zones:
            raise ConfigProblem("polygon and zones are both set", hint="keep zones, which may hold one or several")
        self.zones = {each: Region(points, f"zones.{each}") for each, points in zones.items()}
        if not self.zones:
            self.zones = {name: Region(WHOLE if polygon is None else polygon, "polygon")}

    def around(self, point: Point) -> tuple[str, ...]:
        """The names of the regions that hold the point."""
        return tuple(name for name, region in self.zones.items() if region.holds(point))


def inside_picture(points: Sequence[Point], key: str) -> None:
    """Complains of a point outside of it, or NaN."""
    for number, (x, y) in enumerate(points):
        if not (0 <= x <= 1 and 0 <= y <= 1):
            hint = "points are [x, y] as fractions 0…1 of the picture's width and height"
            raise ConfigProblem(f"{key}[{number}]: [{x:g}, {y:g}] is outside the picture", hint=hint)
