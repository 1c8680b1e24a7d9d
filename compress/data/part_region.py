"""Where the part lies in the reference image, so that the model sees the part alone and at a higher resolution.

What moves with the part is sharp in the median of aligned images, and what does not is blurred. So the part is where
the gradient is at least PART_GRADIENT of its 99.5th percentile, and its region is the rectangle around all large pieces
of that.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

PART_GRADIENT = 0.15  # of the 99.5th percentile of the gradient
MIN_PIECE = 0.02  # of the pixels of the part; smaller pieces are noise
PART_MARGIN = 0.02  # of the side, around the part
MAX_PART = 0.5  # of the image; a larger part is not cut out


def find_part_region(reference: NDArray[Any]) -> tuple[tuple[float, float], ...]:
    """The rectangle around the part in a reference image, as a polygon; empty if it is half of the image or more.

    Args:
        reference: H x W x 3, uint8, blue-green-red
    """
    gray = cv2.GaussianBlur(cv2.cvtColor(reference, cv2.COLOR_BGR2GRAY).astype(np.float32), (0, 0), 1)
    gradient = cv2.magnitude(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    part = (gradient >= PART_GRADIENT * np.quantile(gradient, 0.995)).astype(np.uint8)
    statistics = cv2.connectedComponentsWithStats(part)[2]
    large = statistics[1:][statistics[1:, cv2.CC_STAT_AREA] >= MIN_PIECE * part.sum()]
    if not len(large):
        return ()
    size = np.array([gray.shape[1], gray.shape[0]])
    low = large[:, :2].min(axis=0) / size - PART_MARGIN
    high = (large[:, :2] + large[:, 2:4]).max(axis=0) / size + PART_MARGIN
    (left, top), (right, bottom) = low.clip(0, 1).round(3).tolist(), high.clip(0, 1).round(3).tolist()
    if (right - left) * (bottom - top) >= MAX_PART:
        return ()
    return ((left, top), (right, top), (right, bottom), (left, bottom))
