"""Synthetic defects: adds defects to images of good parts, inside a mask.

A fit has no defective images, and the test images must not select the anomaly model. So this module adds defects to
good images: a pasted patch (Li et al., "CutPaste", 2021), a stain with a noise texture (Zavrtanik et al., "DRAEM",
2021, with Perlin noise; this module uses fractal noise), a scratch, a smear, a dent or a missing piece. A blob is an
ellipse with a ragged edge that covers 0.1 to 4 % of the image. A scratch has a length of 6 to 60 % of the side. Both
are placed where the image has detail, because real defects occur on the part and not on an empty background.

Synthetic defects do not represent the real defects of a production line. They tell anomaly models that detect small
local changes from models that miss them. They do not show whether real defects are small and local.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..models.anomaly.standardization import CELL_PIXELS

Image = NDArray[Any]
"""H x W x 3, float32, 0…255."""
Mask = NDArray[np.bool_]
"""H x W: True where the defect is."""
Rng = np.random.Generator

MIN_VISIBLE_CHANGE = 8  # levels of 255; a pixel with at least this difference counts as changed
MIN_CHANGED_PIXELS = 20  # fewer changed pixels lead to another try
MAX_TRIES = 8


class DefectiveImages(msgspec.Struct, frozen=True):
    """Images with synthetic defects."""

    images: list[NDArray[Any]]
    """Images of 1 x H x W x 3, uint8, as the input of a model."""
    masks: NDArray[Any]
    """N x H/8 x W/8, float32: the fraction of each cell that the defect covers."""
    kinds: tuple[str, ...]
    """The kind of each defect, a key of `DEFECT_KINDS`."""
    sources: tuple[int, ...]
    """Index of the source image of each defective image."""


def make_defects(images: Sequence[NDArray[Any]], count: int, rng: Rng, kinds: Sequence[str] = ()) -> DefectiveImages:
    """Makes `count` defective images. It takes the good images in turn and adds one synthetic defect to each.

    Args:
        images: good images of 1 x H x W x 3, uint8
        count: number of defective images to make
        rng: random number generator; its state determines the defects
        kinds: keys of `DEFECT_KINDS`; empty: all
    """
    defective, masks, chosen, sources = [], [], [], []
    for number in range(count):
        source = number % len(images)
        other = images[int(rng.integers(len(images)))][0]
        image, mask, kind = _add_defect(images[source][0], other, rng, kinds or tuple(DEFECT_KINDS))
        size = (mask.shape[1] // CELL_PIXELS, mask.shape[0] // CELL_PIXELS)
        defective.append(image[None])
        masks.append(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA))
        chosen.append(kind)
        sources.append(source)
    return DefectiveImages(defective, np.stack(masks), tuple(chosen), tuple(sources))


def _add_defect(
    image: NDArray[Any], other: NDArray[Any], rng: Rng, kinds: Sequence[str]
) -> tuple[NDArray[Any], Mask, str]:
    """Adds a defect. It returns the image, the mask of the changed pixels, and the kind of the defect."""
    for _ in range(MAX_TRIES):
        kind = str(rng.choice(kinds))
        region = _scratch_mask(image, rng) if kind == "scratch" else _blob_mask(image, rng)
        result = DEFECT_KINDS[kind](image.astype(np.float32), other.astype(np.float32), region, rng)
        defective = np.clip(result, 0, 255).astype(np.uint8)
        changed = np.abs(defective.astype(int) - image).max(axis=2) > MIN_VISIBLE_CHANGE
        if changed.sum() >= MIN_CHANGED_PIXELS:
            break
    surrounding = cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return defective, region & surrounding, kind


def fractal_noise(shape: tuple[int, ...], coarsest: int, rng: Rng) -> NDArray[Any]:
    """Returns noise with structure at every scale: H x W, float32, standard deviation 1.

    Args:
        shape: H and W in pixels; the noise is a part of a square
        coarsest: cells per side of the coarsest scale; each finer scale has twice as many and half the weight
        rng: random number generator
    """
    size = max(shape)
    noise, cells, weight = np.zeros((size, size), np.float32), coarsest, 1.0
    while cells <= max(coarsest, size // 2):
        octave = rng.standard_normal((cells + 1, cells + 1)).astype(np.float32)
        noise += weight * cv2.resize(octave, (size, size), interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight / 2
    noise = noise[: shape[0], : shape[1]]
    return np.asarray(noise / noise.std())


def _sample_location(image: NDArray[Any], rng: Rng) -> tuple[int, int]:
    """Draws a location x, y with a probability proportional to the detail around it."""
    grey = image.astype(np.float32).mean(axis=2)
    detail = cv2.GaussianBlur(np.abs(cv2.Laplacian(grey, cv2.CV_32F, ksize=3)), (0, 0), 6).astype(np.float64)
    detail += 0.1 * detail.mean() + 1e-3
    index = int(rng.choice(detail.size, p=detail.ravel() / detail.sum()))
    return index % grey.shape[1], index // grey.shape[1]


def _mean_side(image: NDArray[Any]) -> float:
    """The geometric mean of height and width."""
    return math.sqrt(image.shape[0] * image.shape[1])


def _blob_mask(image: NDArray[Any], rng: Rng) -> Mask:
    height, width = image.shape[:2]
    x, y = _sample_location(image, rng)
    radius = _mean_side(image) * np.sqrt(np.exp(rng.uniform(np.log(0.001), np.log(0.04))) / np.pi)
    stretch, turn = np.exp(rng.uniform(-0.6, 0.6)), rng.uniform(0, np.pi)
    down, right = np.mgrid[:height, :width].astype(np.float32)
    along = (right - x) * np.cos(turn) + (down - y) * np.sin(turn)
    across = (down - y) * np.cos(turn) - (right - x) * np.sin(turn)
    distance = np.hypot(along / (radius * stretch), across * stretch / radius)
    return np.asarray(distance + 0.35 * fractal_noise((height, width), 8, rng) < 1)


def _scratch_mask(image: NDArray[Any], rng: Rng) -> Mask:
    x, y = map(float, _sample_location(image, rng))
    length, turn = _mean_side(image) * np.exp(rng.uniform(np.log(0.06), np.log(0.6))), rng.uniform(0, 2 * np.pi)
    steps = max(3, int(length / 8))
    points = [(x, y)]
    for _ in range(steps):
        turn += rng.normal(0, 0.25)
        x, y = x + length / steps * np.cos(turn), y + length / steps * np.sin(turn)
        points.append((x, y))
    drawn = np.zeros(image.shape[:2], np.uint8)
    fixed = (np.array(points) * 8).astype(np.int32)  # fixed point with three fractional bits
    cv2.polylines(drawn, [fixed], False, 1, int(rng.integers(1, 4)), shift=3)
    return drawn > 0


def _soften(mask: Mask, blur: float) -> Image:
    """Returns the mask with blurred edges, H x W x 1, 0…1."""
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), blur)[..., None])


def _paste(image: Image, other: Image, mask: Mask, rng: Rng) -> Image:
    """Pastes a patch of another image or of another location."""
    sides = np.array(image.shape[:2])
    source = np.roll(other if rng.random() < 0.6 else image, tuple(rng.integers(-sides // 2, sides // 2)), (0, 1))
    source = np.rot90(source, int(rng.integers(4)))
    if source.shape != image.shape:  # a quarter turn of an image that is no square
        lacking = np.maximum(0, sides - source.shape[:2])
        source = np.pad(source, ((0, lacking[0]), (0, lacking[1]), (0, 0)), "wrap")[: sides[0], : sides[1]]
    source = source * rng.uniform(0.8, 1.2) + rng.normal(0, 8, 3)
    weight = _soften(mask, 0.8) * rng.uniform(0.5, 1)
    return np.asarray(image * (1 - weight) + np.clip(source, 0, 255) * weight)


def _stain(image: Image, _: Image, mask: Mask, rng: Rng) -> Image:
    """Makes the region lighter, darker or of another color, smooth or mottled."""
    colour = rng.uniform(20, 90) * rng.choice((-1, 1)) * (np.ones(3) if rng.random() < 0.5 else rng.uniform(0.2, 1, 3))
    texture = 1 + 0.4 * fractal_noise(image.shape[:2], int(rng.choice((8, 16, 32))), rng)[..., None] * int(
        rng.integers(2)
    )
    return np.asarray(image + _soften(mask, rng.uniform(0.8, 3)) * colour * texture)


def _scratch(image: Image, _: Image, mask: Mask, rng: Rng) -> Image:
    """Draws a dark or bright line."""
    weight = _soften(mask, 0.7)
    depth = rng.uniform(20, 110) * rng.choice((-1, 1), p=(0.6, 0.4))
    return np.asarray(image + weight / max(weight.max(), 1e-3) * depth)


def _smear(image: Image, _: Image, mask: Mask, rng: Rng) -> Image:
    """Blurs the region."""
    weight = _soften(mask, 1.0)
    return np.asarray(image * (1 - weight) + cv2.GaussianBlur(image, (0, 0), rng.uniform(1.5, 5)) * weight)


def _dent(image: Image, _: Image, mask: Mask, rng: Rng) -> Image:
    """Displaces the pixels of the region."""
    (height, width), turn = image.shape[:2], rng.uniform(0, 2 * np.pi)
    push = _soften(mask, 3.0)[..., 0] * np.float32(rng.uniform(4, 12))
    down, right = np.mgrid[:height, :width].astype(np.float32)
    x, y = right + push * np.float32(np.cos(turn)), down + push * np.float32(np.sin(turn))
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def _hole(image: Image, _: Image, mask: Mask, rng: Rng) -> Image:
    """Removes a piece: the region gets the median color of the image, or the mean color of its surroundings."""
    around = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    colour = np.median(image.reshape(-1, 3), axis=0) if rng.random() < 0.5 or not mask.any() else image[around].mean(0)
    weight = _soften(mask, 0.8)
    return np.asarray(image * (1 - weight) + colour * weight)


DEFECT_KINDS: dict[str, Callable[[Image, Image, Mask, Rng], Image]] = {
    "paste": _paste,
    "stain": _stain,
    "scratch": _scratch,
    "smear": _smear,
    "dent": _dent,
    "hole": _hole,
}
