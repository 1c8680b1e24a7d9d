"""Affine transforms between two images: between pixels, between fractions of the sides, and as motion of a part.

Pixels have their center at half coordinates: pixel x of w covers x / w … (x + 1) / w of the width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[Any]
"""An affine transform, 2 x 3."""


class Motion(NamedTuple):
    """How far a part is moved."""

    shift: float
    """Of the center, along the axis with the larger one, as a fraction of the side."""
    angle: float
    """Degrees, 0…180."""
    scale: float
    """Relative change of the size."""


def measure_motion(matrix: Matrix, aspect: float) -> Motion:
    """The motion of a transform between fractions of images.

    Args:
        matrix: 2 x 3
        aspect: width of the images divided by their height
    """
    center = matrix[:, :2] @ [0.5, 0.5] + matrix[:, 2] - 0.5
    linear = np.diag([aspect, 1]) @ matrix[:, :2] @ np.diag([1 / aspect, 1])
    angle = abs(float(np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))))
    return Motion(float(np.abs(center).max()), angle, abs(float(np.sqrt(abs(np.linalg.det(linear)))) - 1))


def scale_pixels(matrix: Matrix, factor: float) -> Matrix:
    """The same transform between images whose sides have `factor` times the pixels. Pixels have their center at half
    coordinates.
    """
    scaled, half = matrix.copy(), matrix[:, :2] @ [0.5, 0.5]
    scaled[:, 2] = factor * (matrix[:, 2] + 0.5 - half) + half - 0.5
    return scaled


def to_fractions(matrix: Matrix, size: tuple[int, int]) -> Matrix:
    """A transform between pixels of two images of this size as a transform between fractions."""
    scale = np.diag([1 / size[0], 1 / size[1]])
    linear = scale @ matrix[:, :2] @ np.linalg.inv(scale)
    offset = scale @ (matrix[:, 2] + 0.5 - matrix[:, :2] @ [0.5, 0.5])
    return np.hstack([linear, offset[:, None]])


def to_pixels(matrix: Matrix, size: tuple[int, int]) -> Matrix:
    """The inverse of `to_fractions`."""
    scale = np.diag(np.array(size, np.float64))
    linear = scale @ matrix[:, :2] @ np.linalg.inv(scale)
    offset = scale @ matrix[:, 2] - 0.5 + linear @ [0.5, 0.5]
    return np.hstack([linear, offset[:, None]])
