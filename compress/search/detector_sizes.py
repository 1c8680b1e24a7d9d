"""The input sizes that a search tries for an object detector: smaller ones, and those in the shape of the images.

A detector that keeps the aspect ratio fills what remains of its input with gray. A camera's images all have one shape,
so that part of a square input is computed for nothing: a quarter of it for images of 4:3, 44 % for those of 16:9. An
input in the shape of the images leaves it out, and the objects in it are as large as before. For images of many shapes
only squares are tried: what suits most of them makes the others small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ..data.aspect_ratio import have_different_shapes, measure_quantiles
from ..models.image_size import ImageSize, count_pixels, height_and_width, simplify

SIZE_STEP = 32  # pixels
MIN_SCALE = 0.5  # of the longer side of the detector's own size


def list_sizes(size: ImageSize, paths: Sequence[Path], fills: bool) -> list[ImageSize]:
    """The input sizes to evaluate beside the detector's own, the one with the most pixels first.

    Args:
        size: the detector's own size
        paths: images
        fills: whether images keep their aspect ratio, and the rest of the input is filled
    """
    height, width = height_and_width(size)
    if not fills or height != width:
        return list_smaller_sizes(size)
    low, median, high = measure_quantiles(paths)
    longest = height // SIZE_STEP * SIZE_STEP
    fitted = [(rows, columns) for rows, columns in _scale(longest, height, median) if rows != columns]
    if not fitted or have_different_shapes(low, median, high):
        return list_smaller_sizes(size)
    return sorted(fitted, key=count_pixels, reverse=True)


def list_smaller_sizes(size: ImageSize) -> list[ImageSize]:
    """The smaller input sizes of about this shape, SIZE_STEP apart, the largest first.

    Args:
        size: the detector's own size
    """
    height, width = height_and_width(size)
    longest = (max(height, width) - 1) // SIZE_STEP * SIZE_STEP
    return [simplify(*each) for each in _scale(longest, max(height, width), width / height)]


def _scale(longest: int, own: int, ratio: float) -> list[tuple[int, int]]:
    """Heights and widths from this longer side down to MIN_SCALE of `own`."""
    shape = min(ratio, 1 / ratio)
    sizes = []
    for long in range(longest, max(math.ceil(own * MIN_SCALE), SIZE_STEP) - 1, -SIZE_STEP):
        short = math.ceil(round(long * shape / SIZE_STEP, 3)) * SIZE_STEP
        sizes.append((short, long) if ratio >= 1 else (long, short))
    return sizes
