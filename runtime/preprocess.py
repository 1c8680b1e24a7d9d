"""A frame becomes the model's input: resized, red-green-blue, and straight to integers.

Normalisation and quantisation are one affine step per pixel value, so they fold into a table of 256 entries. Where the
workshop chose the input's scale such that a pixel *is* its integer, the table is the identity and is skipped.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .manifest import Input


class Preprocess:
    """H x W x 3, uint8, blue-green-red -> 1 x height x width x 3, u8, red-green-blue."""

    def __init__(self, spec: Input) -> None:
        self.size = (spec.width, spec.height)
        real = (np.arange(256) - spec.mean) / spec.std
        integers = np.clip(np.rint(real / spec.scale) + spec.zero_point, 0, 255).astype(np.uint8)
        self.table = None if np.array_equal(integers, np.arange(256)) else integers

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        pixels: Any = image
        if (pixels.shape[1], pixels.shape[0]) != self.size:
            pixels = cv2.resize(pixels, self.size, interpolation=cv2.INTER_AREA)
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        if self.table is not None:
            pixels = cv2.LUT(pixels, self.table)
        return np.asarray(pixels)[np.newaxis]
