"""What nobody may see: polygons that are blacked out of a picture as soon as there is one.

A pixel is black where the polygon touches its square at all, if only its edge: rounding favours who is not to be seen.
So a pixel is black if an edge of the polygon passes its square, or if its centre lies inside; where no edge passes,
the centre speaks for the whole square. Inside is where the winding number is not zero: a polygon that covers a place
twice hides it, too. NumPy alone, for it runs where a camera's library has brought no OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_SLACK = 1e-6  # of a pixel, so that what floating point loses is black, too


class Mask:
    """Blacks `zones` out of pictures: each is a polygon of [x, y], fractions 0…1 from the top left."""

    def __init__(self, zones: Sequence[Sequence[Sequence[float]]]) -> None:
        self.zones = zones
        self.keep: Any = None
        """H x W x 3, uint8, of the size that pictures have had: all bits where they are seen, none where not."""

    def __call__(self, pixels: Any) -> Any:
        """The picture, H x W x 3, uint8, without what is in the zones: itself, or a copy where it cannot be written."""
        if not self.zones:
            return pixels
        if self.keep is None or self.keep.shape != pixels.shape:
            hidden = covered(self.zones, *pixels.shape[:2])
            self.keep = np.where(hidden, 0, 255)[..., None].repeat(3, axis=2).astype(np.uint8)
        return np.bitwise_and(pixels, self.keep, out=pixels if pixels.flags.writeable else None)


def covered(zones: Sequence[Sequence[Sequence[float]]], height: int, width: int) -> Any:
    """Height x width, bool: the pixels that a zone touches."""
    found = np.zeros((height, width), bool)
    for zone in zones:
        points = np.array(zone, float) * (width, height)
        edges = list(zip(points, np.roll(points, -1, axis=0), strict=True))
        found |= _inside(edges, height, width)
        for start, end in edges:
            _trace(found, start, end)
    return found


def _inside(edges: Sequence[tuple[Any, Any]], height: int, width: int) -> Any:
    """The pixels whose centre lies inside, by the winding number along each row."""
    turns = np.zeros((height, width + 1), int)
    centres = np.arange(height) + 0.5
    for start, end in edges:
        (low, high), way = ((start, end), 1) if start[1] < end[1] else ((end, start), -1)
        rows = np.flatnonzero((low[1] <= centres) & (centres < high[1]))
        if rows.size:
            x = low[0] + (centres[rows] - low[1]) / (high[1] - low[1]) * (high[0] - low[0])
            turns[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] += way
    return np.cumsum(turns, axis=1)[:, :width] != 0


def _trace(found: Any, start: Any, end: Any) -> None:
    """Marks every pixel whose square the edge touches."""
    height, width = found.shape
    low, high = (start, end) if start[1] <= end[1] else (end, start)
    first, last = int(np.floor(low[1] - _SLACK)), int(np.floor(high[1] + _SLACK))
    rows = np.arange(max(first, 0), min(last, height - 1) + 1)
    rise = high[1] - low[1]
    if rise > 0:  # where the edge enters the row, and where it leaves it
        ends = [np.clip((rows + side - low[1]) / rise, 0, 1) for side in (-_SLACK, 1 + _SLACK)]
    else:
        ends = [np.zeros(len(rows)), np.ones(len(rows))]
    one, other = (low[0] + share * (high[0] - low[0]) for share in ends)
    left, right = np.minimum(one, other) - _SLACK, np.maximum(one, other) + _SLACK
    columns = np.arange(width)
    found[rows] |= (columns >= np.floor(left)[:, None]) & (columns <= np.floor(right)[:, None])
