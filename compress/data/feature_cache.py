"""The pictures that detectors are fitted to and tried on: good parts, plain and spoilt, and a backbone's view of them.

Spoilt pictures are drawn once, at the largest size that is looked at, and scaled down with the good ones that they are
held against, so that a smaller input is judged by the same defects, as small as they then are. Features are worked out
once per size and kept in half precision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.runtime.evaluation.verify import Track

from ..models import efficientnet_lite
from ..models import feature_extraction as features
from . import split, synthetic_defects
from .augmentation import Augment, vary
from .split import Split

SPOILT = 240  # images with made-up defects
EACH = 24  # of one good image, at most
MOST = 240  # good images that are looked at in trials
VARIED = 3  # variations of each good image, where the goal asks for any


class Features(NamedTuple):
    """Of good images and of spoilt ones, by block: N x C x H x W."""

    good: dict[int, Tensor]
    spoilt: dict[int, Tensor]
    masks: Tensor
    """N x H/8 x W/8: the share of each cell that is spoilt."""
    kinds: tuple[str, ...]
    sources: tuple[int, ...]
    """Which good image each spoilt one was made of."""


class Gallery:
    """Pictures of 1 x size x size x 3, u8.

    Args:
        images: their `fit` part is shown
        size: pixels, the largest input that is looked at
        blocks: of the backbone, all that are looked at
        seed: decides which images are spoilt, and how
        track: wraps long loops
    """

    def __init__(self, images: Split, size: int, blocks: Iterable[int], seed: int, track: Track) -> None:
        self.images = images
        self.size = size
        self.blocks = tuple(sorted(set(blocks)))
        self.rng = np.random.default_rng(seed)
        self.track = track
        good = self.good(size)
        self.all = digest(good)
        """Digest of all good images, which detectors are fitted to."""
        self.some = sorted(self.rng.permutation(len(good))[:MOST].tolist())
        """Numbers of the good images that trials look at."""
        self.shown = [good[number] for number in self.some]
        self.spoilt = synthetic_defects.defects(self.shown, min(SPOILT, EACH * len(self.some)), self.rng)
        self.looked_at: dict[int, Features] = {}

    @cached_property
    def digest(self) -> str:
        """Of the pictures that trials look at, spoilt ones included."""
        return digest([*self.shown, *self.spoilt.images])

    def good(self, size: int) -> list[NDArray[Any]]:
        """All good images, as the model will take them."""
        return list(split.tensors(self.track(self.images.fit, "reading"), efficientnet_lite.input_of(size)))

    def varied(self, size: int, how: Augment | None) -> list[NDArray[Any]]:
        """The same and, where it is asked for, variations of each."""
        good = self.good(size)
        if how is None:
            return good
        rng = np.random.default_rng(len(good))
        return good + [vary(image[0], how, rng)[None] for image in good for _ in range(VARIED)]

    def defective(self, size: int) -> list[NDArray[Any]]:
        """The spoilt pictures."""
        return [scaled(image, size) for image in self.spoilt.images]

    def masks(self, size: int) -> Tensor:
        """N x size/8 x size/8: the share of each cell that is spoilt."""
        cells = size // 8
        return torch.from_numpy(
            np.stack([cv2.resize(mask, (cells, cells), interpolation=cv2.INTER_AREA) for mask in self.spoilt.masks])
        )

    @cached_property
    def groups(self) -> list[str]:
        """Of the good images that trials look at."""
        return [self.images.groups[self.images.fit[number]] for number in self.some]

    def features(self, size: int) -> Features:
        """What the float backbone sees in the images of the trials."""
        if size not in self.looked_at:
            shown = [scaled(image, size) for image in self.shown]
            pictures = self.track([*shown, *self.defective(size)], f"float features at {size} pixels")
            good, spoilt = parted(features.of_float(efficientnet_lite.load(self.blocks), pictures), len(shown))
            self.looked_at[size] = Features(
                dict(zip(self.blocks, [level.half() for level in good], strict=True)),
                dict(zip(self.blocks, [level.half() for level in spoilt], strict=True)),
                self.masks(size),
                self.spoilt.kinds,
                self.spoilt.sources,
            )
        return self.looked_at[size]


def digest(images: Iterable[NDArray[Any]]) -> str:
    """Of their pixels, in their order."""
    found = hashlib.sha256()
    for image in images:
        found.update(image.tobytes())
    return found.hexdigest()


def parted(batches: Iterable[Sequence[Tensor]], count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Per level, the features of the first `count` images and those of the others."""
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    return [level[:count] for level in levels], [level[count:] for level in levels]


def scaled(image: NDArray[Any], size: int) -> NDArray[Any]:
    """An image of 1 x H x W x 3 as 1 x size x size x 3."""
    if image.shape[1] == size:
        return image
    return np.asarray(cv2.resize(image[0], (size, size), interpolation=cv2.INTER_AREA))[None]
