"""The small gray image of a frame, in which left and removed objects are looked for, and what is measured in it."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...inference.prediction import Box

GrayImage = NDArray[np.float32]
Mask = NDArray[np.bool_]
Area = tuple[slice, slice]

WIDTH = 160  # pixels of the small image
_FIRST_STEP = 4  # OpenCV has a fast way to shrink by four; by twelve at once, as from full HD, takes nine times as long
_BOX_MARGIN = 0.1  # fraction of its size by which an ignored box grows: detectors cut off shoes
_EDGE_MARGIN = 3  # pixels around a blob: two of its outline, and one that their gradient needs


def downscale(pixels: NDArray[Any]) -> GrayImage:
    """The frame in gray levels, WIDTH pixels wide, slightly blurred against noise."""
    height, width = pixels.shape[:2]
    size = (WIDTH, max(round(WIDTH * height / width), 1))
    if width % (WIDTH * _FIRST_STEP) == 0 and height % _FIRST_STEP == 0:
        pixels = cv2.resize(pixels, (width // _FIRST_STEP, height // _FIRST_STEP), interpolation=cv2.INTER_AREA)
    gray = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(gray, (3, 3), 0), np.float32)


def boxes_to_mask(boxes: Iterable[Box], shape: tuple[int, ...]) -> Mask:
    """The pixels of an image of this height and width that lie in slightly larger boxes."""
    mask = np.zeros(shape, bool)
    height, width = shape
    for box in boxes:
        aside, above = _BOX_MARGIN * (box.right - box.left), _BOX_MARGIN * (box.bottom - box.top)
        top, bottom = max(floor((box.top - above) * height), 0), max(ceil((box.bottom + above) * height), 0)
        left, right = max(floor((box.left - aside) * width), 0), max(ceil((box.right + aside) * width), 0)
        mask[top:bottom, left:right] = True
    return mask


def find_share(mask: Mask) -> float:
    """The share of a mask that is true."""
    return np.count_nonzero(mask) / mask.size


def find_median(values: GrayImage) -> np.float32:
    """The same as np.median of numbers that are all finite, in fewer passes: on a small device they count."""
    middle = (values.size - 1) // 2, values.size // 2
    parted = np.partition(values.ravel(), middle)
    return np.float32((parted[middle[0]] + parted[middle[1]]) / 2)


def find_known_median(images: NDArray[np.float32]) -> GrayImage:
    """The same as np.nanmedian of N images, N x H x W, at each pixel, faster. No pixel is NaN in all of them."""
    ordered = np.sort(images, axis=0)  # NaN comes last
    known = np.count_nonzero(~np.isnan(images), axis=0)[None]
    low, high = (np.take_along_axis(ordered, middle, axis=0)[0] for middle in ((known - 1) // 2, known // 2))
    return np.asarray((low + high) / 2, np.float32)


def find_area(blob: Mask, margin: int) -> Area:
    """The rows and columns of a blob, with so many pixels around it."""
    left, top, wide, high = cv2.boundingRect(blob.view(np.uint8))
    return slice(max(top - margin, 0), top + high + margin), slice(max(left - margin, 0), left + wide + margin)


def compare_edges(blob: Mask, now: GrayImage, before: GrayImage) -> float:
    """1: the outline of `blob` is an edge in `now` and is none in `before`; 0: the reverse."""
    area = find_area(blob, _EDGE_MARGIN)
    shape = blob[area].astype(np.uint8)
    band = (cv2.dilate(shape, np.ones((5, 5))) - cv2.erode(shape, np.ones((3, 3)))).astype(bool)
    present, past = (float(_gradient_magnitude(gray[area])[band].mean()) for gray in (now, before))
    return present / max(present + past, 1e-6)


def _gradient_magnitude(gray: GrayImage) -> GrayImage:
    return np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
