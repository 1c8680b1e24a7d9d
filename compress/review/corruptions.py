"""What cameras and places do to images, each at three strengths.

The kinds follow Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (2019). The strengths are ours: 1 is an ordinary day (another exposure, JPEG as cameras store it), 2 a
bad camera, 3 a fault. They are applied to the camera's image, before the model's own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

STRENGTHS = (1, 2, 3)


class Corruption(NamedTuple):
    """One kind of corruption."""

    settings: tuple[str, str, str]
    """What each strength means."""
    values: tuple[float, float, float]
    apply: Callable[[NDArray[Any], float, np.random.Generator], NDArray[Any]]
    """Image (H x W x 3, uint8), value and random numbers -> image."""


def corrupt(image: NDArray[Any], kind: str, strength: int, seed: int) -> NDArray[Any]:
    """The image under a corruption; equal arguments give equal pixels.

    Args:
        image: H x W x 3, uint8, blue-green-red
        kind: a key of CORRUPTIONS
        strength: 1 to 3
        seed: of the noise, of the direction of a shift and of a rotation
    """
    corruption = CORRUPTIONS[kind]
    return corruption.apply(image, corruption.values[strength - 1], np.random.default_rng(seed))


def _noise(image: NDArray[Any], sigma: float, rng: np.random.Generator) -> NDArray[Any]:
    noisy = image + np.float32(sigma) * rng.standard_normal(image.shape, np.float32)
    return np.asarray(noisy.round().clip(0, 255).astype(np.uint8))


def _blur(image: NDArray[Any], sigma: float, _rng: np.random.Generator) -> NDArray[Any]:
    """Sigma is for a side of 256 pixels, so that the blur does not depend on the resolution."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * max(image.shape[:2]) / 256))


def _jpeg(image: NDArray[Any], quality: float, _rng: np.random.Generator) -> NDArray[Any]:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))


def _brightness(image: NDArray[Any], change: float, rng: np.random.Generator) -> NDArray[Any]:
    factor = 1 + change if rng.random() < 0.5 else 1 - change
    return np.asarray((image * np.float32(factor)).round().clip(0, 255).astype(np.uint8))


def _contrast(image: NDArray[Any], change: float, rng: np.random.Generator) -> NDArray[Any]:
    factor = 1 + change if rng.random() < 0.5 else 1 - change
    mean = np.float32(image.mean())
    return np.asarray(((image - mean) * np.float32(factor) + mean).round().clip(0, 255).astype(np.uint8))


def _shift(image: NDArray[Any], share: float, rng: np.random.Generator) -> NDArray[Any]:
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    matrix = np.array([[1, 0, share * width * np.cos(angle)], [0, 1, share * height * np.sin(angle)]])
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE))


def _rotation(image: NDArray[Any], degrees: float, rng: np.random.Generator) -> NDArray[Any]:
    height, width = image.shape[:2]
    angle = degrees if rng.random() < 0.5 else -degrees
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE))


def _named(name: str, values: tuple[float, float, float], unit: str = "") -> tuple[str, str, str]:
    first, second, third = (f"{name} {value:g}{unit}" for value in values)
    return first, second, third


CORRUPTIONS = {
    "noise": Corruption(_named("sigma", (5, 10, 20)), (5, 10, 20), _noise),
    "blur": Corruption(_named("sigma", (0.5, 1, 2), " of 256 pixels"), (0.5, 1, 2), _blur),
    "jpeg": Corruption(_named("quality", (75, 40, 15)), (75, 40, 15), _jpeg),
    "brightness": Corruption(_named("±", (10, 20, 40), " %"), (0.1, 0.2, 0.4), _brightness),
    "contrast": Corruption(_named("±", (10, 20, 40), " %"), (0.1, 0.2, 0.4), _contrast),
    "shift": Corruption(_named("by", (1, 3, 6), " % of the side"), (0.01, 0.03, 0.06), _shift),
    "rotation": Corruption(_named("by", (1, 3, 6), " degrees"), (1, 3, 6), _rotation),
}
"""Kind -> corruption."""
