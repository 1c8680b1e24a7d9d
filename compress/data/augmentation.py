"""Image augmentation: random variations that a camera, a lamp or a fixture may cause.

A network that is fitted to a few hundred images overfits to accidental details, such as a shadow or a corner.
Augmentation makes it invariant to such details. An augmented property no longer separates classes, so a variation as
large as a defect hides the defect. Each amount is therefore small by default, each can be switched off, and flips are
off by default.

Augmentation runs at the input size of the model, on uint8 pixels as a camera delivers them. Pixels beyond the border
are reflected, so that black wedges do not become a feature.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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


class SceneVariation(NamedTuple):
    """A random variation of a scene: mirrored, scaled about a random point, and brighter or darker."""

    mirrored: bool
    scale: float
    brightness: float
    down: int
    """Rows by which the scaled image is cut at the top, or moved down if it is smaller than the original."""
    right: int

    @classmethod
    def draw(cls, height: int, width: int, rng: np.random.Generator) -> SceneVariation:
        """A variation for an image of this size."""
        scale, brightness = rng.uniform(0.6, 1.6), rng.uniform(0.7, 1.3)
        mirrored = rng.choice((1, -1)) < 0
        down, right = (int(rng.integers(abs(round(side * scale) - side) + 1)) for side in (height, width))
        return cls(mirrored, scale, brightness, down, right)

    def vary_image(self, image: NDArray[Any], fill: int = 114) -> NDArray[Any]:
        """The varied image, H x W x 3, uint8.

        Args:
            image: H x W x 3, uint8
            fill: gray level around an image that is scaled down
        """
        height, width = image.shape[:2]
        pixels: Any = np.ascontiguousarray(image[:, ::-1] if self.mirrored else image)
        pixels = cv2.resize(pixels, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        if self.scale >= 1:
            result = pixels[self.down : self.down + height, self.right : self.right + width]
        else:
            result = np.full_like(image, fill)
            result[self.down : self.down + pixels.shape[0], self.right : self.right + pixels.shape[1]] = pixels
        return np.asarray((result * self.brightness).clip(0, 255).astype(np.uint8))

    def vary_boxes(self, edges: NDArray[Any], height: int, width: int) -> NDArray[Any]:
        """The same boxes in the varied image; they may reach beyond it.

        Args:
            edges: n x 4: left, top, right, bottom, as fractions of an image of this height and width
            height: of the image, pixels
            width: of the image, pixels
        """
        if self.mirrored:
            edges = np.stack([1 - edges[:, 2], edges[:, 1], 1 - edges[:, 0], edges[:, 3]], axis=1)
        sign = -1 if self.scale >= 1 else 1
        moved = np.tile([sign * self.right / width, sign * self.down / height], 2)
        return np.asarray(edges * self.scale + moved)


def augment_scene(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Augments an image of a scene, H x W x 3, uint8, for object detectors."""
    height, width = image.shape[:2]
    return SceneVariation.draw(height, width, rng).vary_image(image)
