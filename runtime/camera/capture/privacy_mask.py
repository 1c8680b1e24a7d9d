"""The privacy mask: polygons that are blacked out of a frame as soon as it is decoded.

A pixel is black if the polygon touches its square at all, even only its edge, so rounding favors privacy. That is the
case if an edge of the polygon passes through the square, or if the centre of the pixel lies inside; without an edge,
the centre decides for the whole square. Inside means a winding number other than zero: a polygon that covers a place
twice hides it, too. It uses NumPy only, because the system's Python of a Raspberry Pi may have no OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_TOLERANCE = 1e-6  # pixels; covers rounding errors of floating point


class PrivacyMask:
    """Blacks out `zones`: polygons of [x, y], fractions 0…1 from the top left."""

    def __init__(self, zones: Sequence[Sequence[Sequence[float]]]) -> None:
        self.zones = zones
        self.visible: Any = None
        """H x W x 3, uint8, of the size of the last frame: 255 for visible pixels, 0 for hidden ones."""

    def __call__(self, pixels: Any) -> Any:
        """The masked frame, H x W x 3, uint8: the array itself, or a copy if it is read-only."""
        if not self.zones:
            return pixels
        if self.visible is None or self.visible.shape != pixels.shape:
            hidden = rasterize_zones(self.zones, *pixels.shape[:2])
            self.visible = np.where(hidden, 0, 255)[..., None].repeat(3, axis=2).astype(np.uint8)
        return np.bitwise_and(pixels, self.visible, out=pixels if pixels.flags.writeable else None)


def rasterize_zones(zones: Sequence[Sequence[Sequence[float]]], height: int, width: int) -> Any:
    """Height x width, bool: the pixels that a zone touches."""
    mask = np.zeros((height, width), bool)
    for zone in zones:
        points = np.array(zone, float) * (width, height)
        edges = list(zip(points, np.roll(points, -1, axis=0), strict=True))
        mask |= _fill_polygon(edges, height, width)
        for start, end in edges:
            _trace_edge(mask, start, end)
    return mask


def _fill_polygon(edges: Sequence[tuple[Any, Any]], height: int, width: int) -> Any:
    """The pixels whose centre is inside, by the winding number along each row."""
    winding = np.zeros((height, width + 1), int)
    centres = np.arange(height) + 0.5
    for start, end in edges:
        (low, high), direction = ((start, end), 1) if start[1] < end[1] else ((end, start), -1)
        rows = np.flatnonzero((low[1] <= centres) & (centres < high[1]))
        if rows.size:
            x = low[0] + (centres[rows] - low[1]) / (high[1] - low[1]) * (high[0] - low[0])
            winding[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] += direction
    return np.cumsum(winding, axis=1)[:, :width] != 0


def _trace_edge(mask: Any, start: Any, end: Any) -> None:
    """Marks every pixel whose square the edge touches."""
    height, width = mask.shape
    low, high = (start, end) if start[1] <= end[1] else (end, start)
    first, last = int(np.floor(low[1] - _TOLERANCE)), int(np.floor(high[1] + _TOLERANCE))
    rows = np.arange(max(first, 0), min(last, height - 1) + 1)
    rise = high[1] - low[1]
    if rise > 0:  # where the edge enters and leaves the row
        ends = [np.clip((rows + side - low[1]) / rise, 0, 1) for side in (-_TOLERANCE, 1 + _TOLERANCE)]
    else:
        ends = [np.zeros(len(rows)), np.ones(len(rows))]
    first_x, second_x = (low[0] + share * (high[0] - low[0]) for share in ends)
    left, right = np.minimum(first_x, second_x) - _TOLERANCE, np.maximum(first_x, second_x) + _TOLERANCE
    columns = np.arange(width)
    mask[rows] |= (columns >= np.floor(left)[:, None]) & (columns <= np.floor(right)[:, None])
