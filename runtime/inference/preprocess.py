"""A frame becomes the model's input: resized, red-green-blue, and straight to integers.

Normalisation and quantisation are one affine step per pixel value, so they fold into a table of 256 entries. Where the
workshop chose the input's scale such that a pixel *is* its integer, the table is the identity and is skipped.

A letterboxed frame keeps its shape; where it lies in the input follows from its size alone, so `shares` tells the head
that puts boxes back. Sides are rounded to whole pixels: a box may be off by half a pixel of the input.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Input

FILL = 114  # grey of what a letterboxed frame does not cover, as YOLOX was trained with


def shares(spec: Input, frame: tuple[int, int]) -> tuple[float, float]:
    """How much of the input's width and height a frame of this height and width covers, from the upper left corner."""
    width, height = _covered(spec, frame)
    return width / spec.width, height / spec.height


def _covered(spec: Input, frame: tuple[int, int]) -> tuple[int, int]:
    """Width and height in pixels."""
    if spec.resize != "letterbox":
        return spec.width, spec.height
    factor = min(spec.height / frame[0], spec.width / frame[1])
    return max(1, round(frame[1] * factor)), max(1, round(frame[0] * factor))


class Preprocess:
    """H x W x 3, uint8, blue-green-red -> 1 x height x width x 3, u8, red-green-blue."""

    def __init__(self, spec: Input) -> None:
        self.spec = spec
        self.how = cv2.INTER_AREA if spec.resize == "area" else cv2.INTER_LINEAR
        real = (np.arange(256) - spec.mean) / spec.std
        integers = np.clip(np.rint(real / spec.scale) + spec.zero_point, 0, 255).astype(np.uint8)
        self.table = None if np.array_equal(integers, np.arange(256)) else integers

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        pixels: Any = image
        size = _covered(self.spec, pixels.shape[:2])
        if (pixels.shape[1], pixels.shape[0]) != size:
            pixels = cv2.resize(pixels, size, interpolation=self.how)
        right, below = self.spec.width - size[0], self.spec.height - size[1]
        if right or below:
            pixels = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(FILL,) * 3)
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        if self.table is not None:
            pixels = cv2.LUT(pixels, self.table)
        return np.asarray(pixels)[np.newaxis]
