"""Keypoints of a picture: places that can be found again in another picture of the same part, whatever the exposure.

The picture is scaled to DESCRIBED_SIDE pixels. Its logarithm, less the shading and divided by the local contrast, does
not depend on gain or gamma. SIFT (OpenCV) finds at most MAX_KEYPOINTS places and describes each by 128 numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

DESCRIBED_SIDE = 256  # pixels of the longer side, at most
MAX_KEYPOINTS = 120
_SHADING_SIGMA = 12  # pixels
_CONTRAST_SIGMA = 24
_MIN_SIFT_CONTRAST = 0.02


class Keypoints(NamedTuple):
    """The keypoints of one picture, the strongest first."""

    places: NDArray[Any]
    """N x 2, float32: right and down, in pixels of the described picture."""
    sizes: NDArray[Any]
    """N, float32, pixels."""
    angles: NDArray[Any]
    """N, float32, degrees."""
    descriptors: NDArray[Any]
    """N x 128, uint8: roots of the relative frequencies of gradients, times 255."""

    def unit_descriptors(self) -> NDArray[Any]:
        """Returns the descriptors as vectors of length 1, float32."""
        vectors = self.descriptors.astype(np.float32)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6))


def find_keypoints(grey: NDArray[Any]) -> Keypoints:
    """Returns the keypoints of a gray picture, H x W, uint8, with at most DESCRIBED_SIDE pixels on its longer side."""
    levels = np.log(grey.astype(np.float32) + 8)
    detail = levels - cv2.GaussianBlur(levels, (0, 0), _SHADING_SIGMA)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _CONTRAST_SIGMA)) + 0.02
    normal = np.clip(detail / contrast * 40 + 128, 0, 255).astype(np.uint8)
    sift = cv2.SIFT_create(nfeatures=MAX_KEYPOINTS, contrastThreshold=_MIN_SIFT_CONTRAST)  # type: ignore[attr-defined]
    found, described = sift.detectAndCompute(normal, None)
    if described is None:
        none = np.zeros(0, np.float32)
        return Keypoints(none.reshape(0, 2), none, none, np.zeros((0, 128), np.uint8))
    roots = np.sqrt(described / np.maximum(described.sum(axis=1, keepdims=True), 1e-6))
    return Keypoints(
        np.array([each.pt for each in found], np.float32),
        np.array([each.size for each in found], np.float32),
        np.array([each.angle for each in found], np.float32),
        (roots * 255).round().astype(np.uint8),
    )
