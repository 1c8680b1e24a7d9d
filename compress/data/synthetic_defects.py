"""Defects that nobody has photographed: good pictures, spoilt where a mask says.

There are no defective pictures to fit with, and a detector must not be chosen by those that it is judged by. So good
pictures are spoilt: something pasted in (Li et al., "CutPaste", 2021), a stain with the texture of noise (Zavrtanik et
al., "DRAEM", 2021, whose noise is Perlin's; ours is the same idea, fractal), a scratch, a smear, a dent, a piece that
is missing. A blob is an ellipse with a ragged rim of 0.1 to 4 % of the picture, a scratch 6 to 60 % of the side long;
both lie where there is something to see, since nothing is broken in an empty background.

They are not what will happen on the line. They tell detectors that see small local changes from those that do not; what
they cannot tell is whether real defects are small and local.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[Any]
"""H x W x 3, float32, 0…255; H = W."""
Mask = NDArray[np.bool_]
"""H x W: where it is spoilt."""
Rng = np.random.Generator

VISIBLE = 8  # steps of 255, a change that counts as one
FEWEST = 20  # changed pixels, below which another try is made
TRIES = 8


class Defects(msgspec.Struct, frozen=True):
    """Spoilt pictures."""

    images: list[NDArray[Any]]
    """Each 1 x H x W x 3, u8, as a model takes them."""
    masks: NDArray[Any]
    """N x H/8 x W/8, float32: which share of each cell is spoilt."""
    kinds: tuple[str, ...]
    sources: tuple[int, ...]
    """Which of the good images each was made of."""


def defects(good: Sequence[NDArray[Any]], count: int, rng: Rng, kinds: Sequence[str] = (), cell: int = 8) -> Defects:
    """Spoils the good images in turn.

    Args:
        good: images of 1 x H x W x 3, u8
        count: how many to make
        rng: decides; the same one gives the same defects
        kinds: names in `KINDS`; none means all
        cell: pixels of the image per cell of the masks
    """
    images, masks, chosen, sources = [], [], [], []
    for number in range(count):
        source = number % len(good)
        other = good[int(rng.integers(len(good)))][0]
        image, mask, kind = _spoil(good[source][0], other, rng, kinds or tuple(KINDS))
        size = (mask.shape[1] // cell, mask.shape[0] // cell)
        images.append(image[None])
        masks.append(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA))
        chosen.append(kind)
        sources.append(source)
    return Defects(images, np.stack(masks), tuple(chosen), tuple(sources))


def _spoil(image: NDArray[Any], other: NDArray[Any], rng: Rng, kinds: Sequence[str]) -> tuple[NDArray[Any], Mask, str]:
    """The spoilt picture, where it differs visibly, and how it was made."""
    for _ in range(TRIES):
        kind = str(rng.choice(kinds))
        wanted = _line(image, rng) if kind == "scratch" else _blob(image, rng)
        made = KINDS[kind](image.astype(np.float32), other.astype(np.float32), wanted, rng)
        spoilt = np.clip(made, 0, 255).astype(np.uint8)
        changed = np.abs(spoilt.astype(int) - image).max(axis=2) > VISIBLE
        if changed.sum() >= FEWEST:
            break
    around = cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return spoilt, wanted & around, kind


def fractal(size: int, coarsest: int, rng: Rng) -> NDArray[Any]:
    """Noise with structure at every scale: size x size, float32, standard deviation 1.

    Args:
        size: pixels
        coarsest: cells of the coarsest scale, per side; each next has twice as many and half the weight
        rng: decides
    """
    noise, cells, weight = np.zeros((size, size), np.float32), coarsest, 1.0
    while cells <= max(coarsest, size // 2):
        octave = rng.standard_normal((cells + 1, cells + 1)).astype(np.float32)
        noise += weight * cv2.resize(octave, (size, size), interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight / 2
    return np.asarray(noise / noise.std())


def _somewhere(image: NDArray[Any], rng: Rng) -> tuple[int, int]:
    """A place x, y, drawn by how much there is to see around it."""
    grey = image.astype(np.float32).mean(axis=2)
    detail = cv2.GaussianBlur(np.abs(cv2.Laplacian(grey, cv2.CV_32F, ksize=3)), (0, 0), 6).astype(np.float64)
    detail += 0.1 * detail.mean() + 1e-3
    spot = int(rng.choice(detail.size, p=detail.ravel() / detail.sum()))
    return spot % grey.shape[1], spot // grey.shape[1]


def _blob(image: NDArray[Any], rng: Rng) -> Mask:
    size = image.shape[0]
    x, y = _somewhere(image, rng)
    radius = size * np.sqrt(np.exp(rng.uniform(np.log(0.001), np.log(0.04))) / np.pi)
    stretch, turn = np.exp(rng.uniform(-0.6, 0.6)), rng.uniform(0, np.pi)
    down, right = np.mgrid[:size, :size].astype(np.float32)
    along = (right - x) * np.cos(turn) + (down - y) * np.sin(turn)
    across = (down - y) * np.cos(turn) - (right - x) * np.sin(turn)
    distance = np.hypot(along / (radius * stretch), across * stretch / radius)
    return np.asarray(distance + 0.35 * fractal(size, 8, rng) < 1)


def _line(image: NDArray[Any], rng: Rng) -> Mask:
    size = image.shape[0]
    x, y = map(float, _somewhere(image, rng))
    length, turn = size * np.exp(rng.uniform(np.log(0.06), np.log(0.6))), rng.uniform(0, 2 * np.pi)
    steps = max(3, int(length / 8))
    points = [(x, y)]
    for _ in range(steps):
        turn += rng.normal(0, 0.25)
        x, y = x + length / steps * np.cos(turn), y + length / steps * np.sin(turn)
        points.append((x, y))
    drawn = np.zeros((size, size), np.uint8)
    fixed = (np.array(points) * 8).astype(np.int32)  # three bits behind the point
    cv2.polylines(drawn, [fixed], False, 1, int(rng.integers(1, 4)), shift=3)
    return drawn > 0


def _soft(mask: Mask, blur: float) -> Picture:
    """How far the change goes, H x W x 1, 0…1."""
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), blur)[..., None])


def _paste(image: Picture, other: Picture, mask: Mask, rng: Rng) -> Picture:
    """A piece of another picture, or of another place."""
    size = image.shape[0]
    source = np.roll(other if rng.random() < 0.6 else image, tuple(rng.integers(-size // 2, size // 2, 2)), (0, 1))
    source = np.rot90(source, int(rng.integers(4)))
    source = source * rng.uniform(0.8, 1.2) + rng.normal(0, 8, 3)
    weight = _soft(mask, 0.8) * rng.uniform(0.5, 1)
    return np.asarray(image * (1 - weight) + np.clip(source, 0, 255) * weight)


def _stain(image: Picture, _: Picture, mask: Mask, rng: Rng) -> Picture:
    """Lighter, darker or of another colour, smooth or mottled."""
    colour = rng.uniform(20, 90) * rng.choice((-1, 1)) * (np.ones(3) if rng.random() < 0.5 else rng.uniform(0.2, 1, 3))
    texture = 1 + 0.4 * fractal(image.shape[0], int(rng.choice((8, 16, 32))), rng)[..., None] * int(rng.integers(2))
    return np.asarray(image + _soft(mask, rng.uniform(0.8, 3)) * colour * texture)


def _scratch(image: Picture, _: Picture, mask: Mask, rng: Rng) -> Picture:
    """A line, dark or bright."""
    weight = _soft(mask, 0.7)
    depth = rng.uniform(20, 110) * rng.choice((-1, 1), p=(0.6, 0.4))
    return np.asarray(image + weight / max(weight.max(), 1e-3) * depth)


def _smear(image: Picture, _: Picture, mask: Mask, rng: Rng) -> Picture:
    """Blurred."""
    weight = _soft(mask, 1.0)
    return np.asarray(image * (1 - weight) + cv2.GaussianBlur(image, (0, 0), rng.uniform(1.5, 5)) * weight)


def _dent(image: Picture, _: Picture, mask: Mask, rng: Rng) -> Picture:
    """Pushed aside."""
    size, turn = image.shape[0], rng.uniform(0, 2 * np.pi)
    push = _soft(mask, 3.0)[..., 0] * np.float32(rng.uniform(4, 12))
    down, right = np.mgrid[:size, :size].astype(np.float32)
    x, y = right + push * np.float32(np.cos(turn)), down + push * np.float32(np.sin(turn))
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def _hole(image: Picture, _: Picture, mask: Mask, rng: Rng) -> Picture:
    """A piece is missing: one sees the most common colour, or the mean of what surrounds it."""
    around = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    colour = np.median(image.reshape(-1, 3), axis=0) if rng.random() < 0.5 or not mask.any() else image[around].mean(0)
    weight = _soft(mask, 0.8)
    return np.asarray(image * (1 - weight) + colour * weight)


KINDS: dict[str, Callable[[Picture, Picture, Mask, Rng], Picture]] = {
    "paste": _paste,
    "stain": _stain,
    "scratch": _scratch,
    "smear": _smear,
    "dent": _dent,
    "hole": _hole,
}
