"""Regions of the frame: polygons of points [x, y], fractions 0…1 from the top left.

The position of an object is its foot point: the middle of the lower edge of its box. If the lower part is hidden, or
cut off by the edge of the frame, the foot point lies too high in the frame, and so seems too far away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ...config.polygon import MIN_AREA, Point, Polygon, find_self_intersection
from ...errors import ConfigProblem

WHOLE_FRAME: Polygon = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


class PolygonRegion:
    """A polygon, edge included."""

    def __init__(self, points: Polygon, key: str) -> None:
        """Takes the corners; error messages name `key`.

        Raises:
            ConfigProblem: they enclose no area, or edges cross.
        """
        check_inside_image(points, key)
        if len(points) < 3:
            raise ConfigProblem(f"{key}: {len(points)} points", hint="a polygon has at least three")
        if crossed := find_self_intersection(points):
            hint = "give the points in order around it"
            raise ConfigProblem(f"{key}: the edges from {crossed[0]} and from {crossed[1]} cross", hint=hint)
        self.contour = np.array(points, np.float32)
        if cv2.contourArea(self.contour) < MIN_AREA:
            raise ConfigProblem(f"{key}: it encloses nothing", hint="give points that do not lie on one line")

    def contains(self, point: Point) -> bool:
        return bool(cv2.pointPolygonTest(self.contour, point, False) >= 0)


class RuleArea:
    """The area of a rule: one region, several named ones, or the whole frame."""

    def __init__(self, name: str, polygon: Polygon | None, zones: Mapping[str, Polygon]) -> None:
        """Takes the settings; `name` is that of a single region."""
        if polygon is not None and zones:
            raise ConfigProblem("polygon and zones are both set", hint="keep zones, which may hold one or several")
        self.zones = {each: PolygonRegion(points, f"zones.{each}") for each, points in zones.items()}
        if not self.zones:
            self.zones = {name: PolygonRegion(WHOLE_FRAME if polygon is None else polygon, "polygon")}

    def zones_at(self, point: Point) -> tuple[str, ...]:
        """The names of the regions that contain the point."""
        return tuple(name for name, region in self.zones.items() if region.contains(point))


def check_inside_image(points: Sequence[Point], key: str) -> None:
    """Raises ConfigProblem for a point that is outside of the frame, or NaN."""
    for number, (x, y) in enumerate(points):
        if not (0 <= x <= 1 and 0 <= y <= 1):
            hint = "points are [x, y] as fractions 0…1 of the frame's width and height"
            raise ConfigProblem(f"{key}[{number}]: [{x:g}, {y:g}] is outside the picture", hint=hint)
