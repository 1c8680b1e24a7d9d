"""Other pictures of the same part: what tomorrow's camera, lamp and fixture may change.

Fitted to a few hundred pictures, a network learns what is theirs by chance: this shadow, that corner. Pictures that are
varied a little teach it what does not matter. But inspection is not photography: whatever is varied stops telling
classes apart, so a variation as large as a defect erases it. Each amount is therefore small by default, each has its
switch, and mirroring is off until it is asked for.

All of it is done at the size of the model's input, on integers as the camera would give them. Beyond the edge lies the
mirror image of what is inside it, so that no black wedge becomes a feature.
"""

from __future__ import annotations

from typing import Annotated, Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

_Small = Annotated[float, msgspec.Meta(ge=0, le=0.5)]


class Augment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[augment]`: how far each picture may be varied; 0 or false is off."""

    shift: _Small = 0.03
    """Share of the side. Erases defects of position (a label a little too far left); parts in a fixture move less."""
    rotate: Annotated[float, msgspec.Meta(ge=0, le=180)] = 3.0
    """Degrees, either way. Erases what is mounted askew by less than this."""
    flip: bool = False
    """Mirrored left-right and upside down, each in half of the cases. Erases wrong way round; right where a part has no
    way round, as a surface or a solar cell."""
    light: _Small = 0.1
    """Share of the range by which brightness, and share of itself by which contrast, may change. Erases stains and
    fading that are as faint."""
    blur: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.5
    """Largest standard deviation, pixels of the model's input. Erases hairlines narrower than that."""
    noise: Annotated[float, msgspec.Meta(ge=0, le=0.2)] = 0.01
    """Standard deviation, share of the range. Erases graininess that is as fine and as faint."""


def vary(image: NDArray[Any], how: Augment, rng: np.random.Generator) -> NDArray[Any]:
    """Another picture of the same part; the same `rng` gives the same one.

    Args:
        image: H x W x 3, u8
        how: how far it may be varied
        rng: decides
    """
    height, width = image.shape[:2]
    pixels: Any = image
    if how.flip:
        pixels = pixels[:: rng.choice((1, -1)), :: rng.choice((1, -1))]
    if how.shift or how.rotate:
        turn: Any = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-how.rotate, how.rotate), 1.0)
        turn[:, 2] += rng.uniform(-how.shift, how.shift, 2) * (width, height)
        pixels = cv2.warpAffine(np.ascontiguousarray(pixels), turn, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    pixels = pixels.astype(np.float32)
    if how.light:
        mean = float(pixels.mean())
        pixels = (pixels - mean) * (1 + rng.uniform(-how.light, how.light)) + mean
        pixels = pixels + 255 * rng.uniform(-how.light, how.light)
    if how.blur and (spread := rng.uniform(0, how.blur)) > 0.2:  # below, nothing changes
        pixels = cv2.GaussianBlur(pixels, (0, 0), spread)
    if how.noise:
        pixels = pixels + rng.normal(0, 255 * how.noise, pixels.shape)
    return np.asarray(pixels.round().clip(0, 255).astype(np.uint8))


def scene(image: NDArray[Any], rng: np.random.Generator, grey: int = 114) -> NDArray[Any]:
    """Another picture of such a scene: mirrored, from nearer or farther, in more or less light.

    Args:
        image: H x W x 3, u8
        rng: decides
        grey: what lies around it, seen from farther
    """
    height, width = image.shape[:2]
    size, light = rng.uniform(0.6, 1.6), rng.uniform(0.7, 1.3)
    pixels: Any = image[:, :: rng.choice((1, -1))]
    pixels = cv2.resize(np.ascontiguousarray(pixels), None, fx=size, fy=size, interpolation=cv2.INTER_AREA)
    down, right = (rng.integers(abs(now - was) + 1) for now, was in zip(pixels.shape[:2], (height, width), strict=True))
    if size >= 1:
        made = pixels[down : down + height, right : right + width]
    else:
        made = np.full_like(image, grey)
        made[down : down + pixels.shape[0], right : right + pixels.shape[1]] = pixels
    return np.asarray((made * light).clip(0, 255).astype(np.uint8))
