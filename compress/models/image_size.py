"""The size of a model's input: the side of a square, or height and width.

A square is a plain number everywhere, as in goal files and manifests that know no other input.
"""

from __future__ import annotations

import itertools
import math

ImageSize = int | tuple[int, int]
"""The side of a square in pixels, or height and width."""
SIDE_STEP = 32  # pixels; the stride of the deepest block
LEAST_SIDE, MOST_SIDE = 64, 1024  # pixels
_AREA_WEIGHT = 0.5  # of a factor of the area, relative to the same factor of the aspect ratio


def height_and_width(size: ImageSize) -> tuple[int, int]:
    """Height and width in pixels."""
    return size if isinstance(size, tuple) else (size, size)


def count_cells(size: ImageSize, pixels: int) -> tuple[int, int]:
    """Rows and columns of cells with this side in pixels."""
    height, width = height_and_width(size)
    return height // pixels, width // pixels


def count_pixels(size: ImageSize) -> int:
    """Pixels of the input."""
    height, width = height_and_width(size)
    return height * width


def simplify(height: int, width: int) -> ImageSize:
    """The size of an image; a square is a plain number."""
    return height if height == width else (height, width)


def fit_aspect_ratio(side: int, ratio: float) -> ImageSize:
    """The size with about the area of a square and about this aspect ratio, in steps of SIDE_STEP.

    Args:
        side: side of the square in pixels
        ratio: width divided by height
    """
    sides = range(LEAST_SIDE, MOST_SIDE + 1, SIDE_STEP)

    def misfit(shape: tuple[int, int]) -> float:
        height, width = shape
        return abs(math.log(width / height / ratio)) + _AREA_WEIGHT * abs(math.log(height * width / side**2))

    return simplify(*min(itertools.product(sides, sides), key=misfit))


def describe(size: ImageSize) -> str:
    """The size in pixels: `224`, or `320 x 128` (width x height)."""
    return str(size) if isinstance(size, int) else f"{size[1]} x {size[0]}"
