"""Image augmentation: random variations that a camera, a lamp or a fixture may cause.

A network that is fitted to a few hundred images overfits to accidental details, such as a shadow or a corner.
Augmentation makes it invariant to such details. An augmented property no longer separates classes, so a variation as
large as a defect hides the defect. Each amount is therefore small by default, each can be switched off, and flips are
off by default.

Augmentation runs at the input size of the model, on uint8 pixels as a camera delivers them. Pixels beyond the border
are reflected, so that black wedges do not become a feature.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..goal.augmentation_settings import AugmentationSettings


def augment_image(image: NDArray[Any], settings: AugmentationSettings, rng: np.random.Generator) -> NDArray[Any]:
    """Augments an image of a part. It returns H x W x 3, uint8. A fixed state of `rng` gives a fixed result.

    Args:
        image: H x W x 3, uint8
        settings: the largest variation of each kind
        rng: random number generator
    """
    height, width = image.shape[:2]
    pixels: Any = image
    if settings.flip:
        pixels = pixels[:: rng.choice((1, -1)), :: rng.choice((1, -1))]
    if settings.shift or settings.rotate:
        transform: Any = cv2.getRotationMatrix2D(
            (width / 2, height / 2), rng.uniform(-settings.rotate, settings.rotate), 1.0
        )
        transform[:, 2] += rng.uniform(-settings.shift, settings.shift, 2) * (width, height)
        pixels = cv2.warpAffine(
            np.ascontiguousarray(pixels), transform, (width, height), borderMode=cv2.BORDER_REFLECT_101
        )
    if settings.illumination:
        pixels = change_illumination(pixels, settings.illumination, rng)
    pixels = pixels.astype(np.float32)
    if settings.light:
        mean = float(pixels.mean())
        pixels = (pixels - mean) * (1 + rng.uniform(-settings.light, settings.light)) + mean
        pixels = pixels + 255 * rng.uniform(-settings.light, settings.light)
    if settings.blur and (sigma := rng.uniform(0, settings.blur)) > 0.2:  # a smaller blur changes no pixel
        pixels = cv2.GaussianBlur(pixels, (0, 0), sigma)
    if settings.noise:
        pixels = pixels + rng.normal(0, 255 * settings.noise, pixels.shape)
    return np.asarray(pixels.round().clip(0, 255).astype(np.uint8))


def change_illumination(image: NDArray[Any], amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Changes gain, gamma and color of an image, as another lamp or exposure does.

    Args:
        image: H x W x 3, uint8
        amount: largest change of gain and gamma; each color channel changes by up to half of it
        rng: random number generator
    """
    gain, gamma = np.exp(np.log1p(amount) * rng.uniform(-1, 1, 2))
    channels = gain * np.exp(np.log1p(amount / 2) * rng.uniform(-1, 1, 3))
    levels = 255 * channels[:, None] * (np.arange(256) / 255) ** gamma
    tables = levels.round().clip(0, 255).astype(np.uint8)
    return np.stack([table[image[..., channel]] for channel, table in enumerate(tables)], axis=-1)


def augment_scene(image: NDArray[Any], rng: np.random.Generator, fill: int = 114) -> NDArray[Any]:
    """Augments an image of a scene for object detectors: flips it, scales it and changes its brightness.

    Args:
        image: H x W x 3, uint8
        rng: random number generator
        fill: gray level around an image that is scaled down
    """
    height, width = image.shape[:2]
    scale, brightness = rng.uniform(0.6, 1.6), rng.uniform(0.7, 1.3)
    pixels: Any = image[:, :: rng.choice((1, -1))]
    pixels = cv2.resize(np.ascontiguousarray(pixels), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    down, right = (rng.integers(abs(now - was) + 1) for now, was in zip(pixels.shape[:2], (height, width), strict=True))
    if scale >= 1:
        result = pixels[down : down + height, right : right + width]
    else:
        result = np.full_like(image, fill)
        result[down : down + pixels.shape[0], right : right + pixels.shape[1]] = pixels
    return np.asarray((result * brightness).clip(0, 255).astype(np.uint8))
