"""Synthetic defects of structure and of low contrast, beside those of `compress/data/synthetic_defects.py`.

They are tried by `choice.py`; the product does not use them, because they do not choose better
(docs/accuracy-experiments.md).

missing  a piece is gone: the region is filled from its surroundings (Telea, "An Image Inpainting Technique Based on
the Fast Marching Method", 2004)
moved    a piece lies beside its place, which is filled
doubled  a piece is there twice
foreign  a procedural texture, at a scale and in a color of its own
faint    a smooth stain of 8 to 24 levels
hairline a line of a third to one pixel in width
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
Mask = NDArray[np.bool_]
Rng = np.random.Generator


def soften(mask: Mask, blur: float) -> Image:
    """Returns the mask with blurred edges, H x W x 1, 0…1."""
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), blur)[..., None])


def _fill(image: Image, mask: Mask) -> Image:
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(cv2.inpaint(image.clip(0, 255).astype(np.uint8), grown, 3, cv2.INPAINT_TELEA)).astype(np.float32)


def _displacement(mask: Mask, rng: Rng) -> tuple[int, int]:
    """Down and right, from half of the region's size to one and a half, and 3 pixels at least."""
    reach = max(3.0, float(np.sqrt(mask.sum())) * rng.uniform(0.5, 1.5))
    turn = rng.uniform(0, 2 * np.pi)
    return round(reach * np.sin(turn)), round(reach * np.cos(turn))


def _lay(image: Image, source: Image, mask: Mask, offset: tuple[int, int]) -> Image:
    """Lays the piece of `source` under the mask, displaced by the offset, on the image."""
    height, width = mask.shape
    matrix = np.array([[1, 0, offset[1]], [0, 1, offset[0]]], np.float32)
    weight = np.asarray(cv2.warpAffine(soften(mask, 0.8)[..., 0], matrix, (width, height)))[..., None]
    piece = np.asarray(cv2.warpAffine(source, matrix, (width, height), borderMode=cv2.BORDER_REFLECT))
    return np.asarray(image * (1 - weight) + piece * weight)


def remove_piece(image: Image, _: Image, mask: Mask, rng: Rng) -> Image:
    weight = soften(mask, 0.8)
    return np.asarray(image * (1 - weight) + _fill(image, mask) * weight)


def move_piece(image: Image, other: Image, mask: Mask, rng: Rng) -> Image:
    return _lay(remove_piece(image, other, mask, rng), image, mask, _displacement(mask, rng))


def double_piece(image: Image, _: Image, mask: Mask, rng: Rng) -> Image:
    return _lay(image, image, mask, _displacement(mask, rng))


def lay_foreign_texture(image: Image, _: Image, mask: Mask, rng: Rng) -> Image:
    size = image.shape[0]
    down, right = np.mgrid[:size, :size].astype(np.float32)
    turn, period = rng.uniform(0, np.pi), rng.uniform(3, 16)
    warp = cv2.resize(rng.standard_normal((8, 8)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    stripes = np.sin(2 * np.pi * (right * np.cos(turn) + down * np.sin(turn)) / period + rng.uniform(0, 3) * warp)
    grain = cv2.GaussianBlur(rng.standard_normal((size, size)).astype(np.float32), (0, 0), rng.uniform(0.7, 2.5))
    share = rng.uniform()
    texture = (share * stripes / stripes.std() + (1 - share) * grain / grain.std())[..., None]
    inside = image[mask] if mask.any() else image.reshape(-1, 3)
    color = inside.mean(axis=0) * rng.uniform(0.7, 1.3, 3 if rng.random() < 0.5 else 1)
    weight = soften(mask, 0.8) * rng.uniform(0.5, 1)
    return np.asarray(image * (1 - weight) + (color + rng.uniform(10, 40) * texture) * weight)


def lay_faint_stain(image: Image, _: Image, mask: Mask, rng: Rng) -> Image:
    color = rng.uniform(9, 24) * rng.choice((-1, 1)) * (np.ones(3) if rng.random() < 0.5 else rng.uniform(0.2, 1, 3))
    return np.asarray(image + soften(mask, rng.uniform(1.5, 4)) * color)


def draw_hairline(image: Image, _: Image, mask: Mask, rng: Rng) -> Image:
    thin = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.6)[..., None]
    return np.asarray(image + thin * rng.uniform(10, 45) * rng.choice((-1, 1), p=(0.6, 0.4)))


KINDS = {
    "missing": remove_piece,
    "moved": move_piece,
    "doubled": double_piece,
    "foreign": lay_foreign_texture,
    "faint": lay_faint_stain,
    "hairline": draw_hairline,
}
"""Each takes an image, H x W x 3, float32, another one of the set, the mask of the region, and a generator."""
LINES = ("hairline",)
FAINT = ("faint", "hairline")
