"""Preprocessing: a frame is resized, converted to RGB and quantized.

Normalization and quantization are one affine function of the pixel value, so they become a lookup table of 256 entries.
If the input's scale was chosen such that a pixel equals its integer, the table is the identity and is skipped.

A letterboxed frame keeps its aspect ratio. Its place in the input follows from its size, so `content_fraction` tells
the head how to map boxes back. Sides are rounded to whole pixels: a box may be off by half a pixel of the input.

If the bundle has an inspection, the model sees the aligned part or a region instead of the whole frame (inspector.py).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.manifest import ModelInput
from .inspector import WHOLE, Inspector
from .part_aligner import Placement

LETTERBOX_GRAY = 114  # gray level of the letterbox border, as in YOLOX's training


def content_fraction(spec: ModelInput, frame_size: tuple[int, int]) -> tuple[float, float]:
    """The fractions of the input's width and height that a frame of this (height, width) covers, from the top left
    corner.
    """
    width, height = _content_size(spec, frame_size)
    return width / spec.width, height / spec.height


def _content_size(spec: ModelInput, frame_size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the resized frame in the input, pixels."""
    if spec.resize != "letterbox":
        return spec.width, spec.height
    factor = min(spec.height / frame_size[0], spec.width / frame_size[1])
    return max(1, round(frame_size[1] * factor)), max(1, round(frame_size[0] * factor))


class Preprocess:
    """H x W x 3, uint8, blue-green-red -> 1 x height x width x 3, u8, red-green-blue.

    Args:
        spec: the model's input
        inspector: cuts what the model sees out of the frame; None: the model sees the whole frame
    """

    def __init__(self, spec: ModelInput, inspector: Inspector | None = None) -> None:
        self.spec, self.inspector = spec, inspector
        self.interpolation = cv2.INTER_AREA if spec.resize == "area" else cv2.INTER_LINEAR
        real = (np.arange(256) - spec.mean) / spec.std
        integers = np.clip(np.rint(real / spec.scale) + spec.zero_point, 0, 255).astype(np.uint8)
        self.lookup_table = None if np.array_equal(integers, np.arange(256)) else integers

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Preprocess:
        """The preprocessing of a bundle.

        Raises:
            BundleProblem: the reference image of the alignment is missing.
        """
        return cls(bundle.manifest.input, Inspector.from_bundle(bundle))

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        return self.inspect(image)[0]

    def inspect(self, image: NDArray[Any]) -> tuple[NDArray[Any], Placement]:
        """The input tensor, and where what it shows lies in the image."""
        placement = WHOLE
        if self.inspector is not None:
            size = self.spec.width, self.spec.height
            image, placement = self.inspector.view(image, size, self.interpolation)
        return self._quantize(image), placement

    def _quantize(self, image: NDArray[Any]) -> NDArray[Any]:
        pixels: Any = image
        size = _content_size(self.spec, pixels.shape[:2])
        if (pixels.shape[1], pixels.shape[0]) != size:
            pixels = cv2.resize(pixels, size, interpolation=self.interpolation)
        right, below = self.spec.width - size[0], self.spec.height - size[1]
        if right or below:
            pixels = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(LETTERBOX_GRAY,) * 3)
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        if self.lookup_table is not None:
            pixels = cv2.LUT(pixels, self.lookup_table)
        return np.asarray(pixels)[np.newaxis]
