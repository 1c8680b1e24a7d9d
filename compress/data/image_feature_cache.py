"""Feature cache: good images, images with synthetic defects, and their backbone features, for trials and fits.

Synthetic defects are added once, at the largest input size. All images are then scaled down together, so that each
input size is evaluated on identical defects at its own scale. Features are computed once per input size. At the largest
size the fit takes them too, and they are stored in single precision; at others in half precision. The images of that
size are decoded once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.progress import Progress

from ..goal.augmentation_settings import OTHER_LAMP, AugmentationSettings
from ..models import efficientnet_lite, feature_extraction
from ..models.anomaly.standardization import CELL_PIXELS
from ..models.design import Design
from ..models.image_size import ImageSize, count_cells, describe, height_and_width
from . import few_images, synthetic_defects
from .augmentation import augment_image
from .group_sample import MAX_FIT_IMAGES, sample_by_group
from .split import Split, model_inputs
from .synthetic_defects import DefectiveImages, Rng

MAX_DEFECTIVE_IMAGES = 240  # images with synthetic defects, at most
DEFECTS_PER_IMAGE = 24  # synthetic defects per good image, at most
MAX_TRIAL_IMAGES = 240  # good images in trials, at most
AUGMENTED_COPIES = 3  # augmented copies of each good image, at most; fewer for large sets, but at least one


class GoodAndDefectiveFeatures(NamedTuple):
    """Features of good images and of images with synthetic defects, by block: N x C x H x W."""

    good: dict[int, Tensor]
    defective: dict[int, Tensor]
    masks: Tensor
    """N x H/8 x W/8: the fraction of each cell that the defect covers."""
    kinds: tuple[str, ...]
    """The kind of each defect."""
    sources: tuple[int, ...]
    """Index of the source image of each defective image."""
    known: dict[int, Tensor] = {}  # noqa: RUF012  # a default that nothing changes
    """Features of known defects; empty without any."""


class ImageFeatureCache:
    """Images of 1 x height x width x 3, uint8, and their backbone features.

    Args:
        split: its `fit` part gives the good images, `known` the known defects
        size: largest input size
        blocks: all blocks of the backbone that any design uses
        seed: seed of the random choice of images and defects
        progress: shows the progress of long loops
        inspector: cuts what the model sees out of an image; None: the model sees the whole image
    """

    def __init__(
        self,
        split: Split,
        size: ImageSize,
        blocks: Iterable[int],
        seed: int,
        progress: Progress,
        inspector: Inspector | None = None,
    ) -> None:
        self.split, self.inspector = split, inspector
        self.size = size
        self.blocks = tuple(sorted(set(blocks)))
        rng = np.random.default_rng(seed)
        self.progress = progress
        self.fit_paths = sample_by_group(split.fit, split.groups, MAX_FIT_IMAGES, seed)
        """The good images that a design is fitted to."""
        if split.references:
            self.fit_paths = sorted({*self.fit_paths, *split.references})
        self._good = self._read(self.fit_paths, size)
        good = self._good
        self.good_digest = digest_images(good)
        """Digest of all good images, to which the chosen design is fitted."""
        self.trial_indices = sorted(rng.permutation(len(good))[:MAX_TRIAL_IMAGES].tolist())
        """Indices of the good images that trials use."""
        self.trial_images = [good[number] for number in self.trial_indices]
        self.defects = make_evaluation_defects(self.trial_images, rng)
        self.known_images = self._read(split.known, size)
        """Images of known defects, at the largest input size."""
        self._features: dict[ImageSize, GoodAndDefectiveFeatures] = {}
        self.figures: dict[Design, Any] = {}
        """What trials have measured with these features, for a next device."""

    @cached_property
    def trial_digest(self) -> str:
        """Digest of the images that trials use, including those with synthetic defects."""
        return digest_images([*self.trial_images, *self.defects.images, *self.known_images])

    def good_images(self, size: ImageSize) -> list[NDArray[Any]]:
        """Returns all good images, as the input of a model."""
        return list(self._good) if size == self.size else self._read(self.fit_paths, size)

    def _read(self, paths: list[Path], size: ImageSize) -> list[NDArray[Any]]:
        shown, spec = self.progress(paths, "reading") if paths else [], efficientnet_lite.backbone_input_spec(size)
        return list(model_inputs(shown, spec, self.inspector))

    def augmented_images(self, size: ImageSize, settings: AugmentationSettings | None) -> list[NDArray[Any]]:
        """Returns all good images, and after each of them its augmented copies.

        Args:
            size: size of the images
            settings: the table `[augment]` of the goal; None: another lamp alone, and for few images the defaults
        """
        good = self.good_images(size)
        settings = settings or (few_images.AUGMENTATION if self.split.few else OTHER_LAMP)
        if settings.is_off:
            return good
        if self.split.few:
            copies = few_images.count_copies(len(good))
        else:
            copies = max(1, min(AUGMENTED_COPIES, MAX_FIT_IMAGES // len(good) - 1))
        rng = np.random.default_rng(len(good))
        return [
            each
            for image in good
            for each in (image, *(augment_image(image[0], settings, rng)[None] for _ in range(copies)))
        ]

    def defective_images(self, size: ImageSize) -> list[NDArray[Any]]:
        """Returns the images with synthetic defects."""
        return [resize_image(image, size) for image in self.defects.images]

    def known_defects(self, size: ImageSize) -> list[NDArray[Any]]:
        """Returns the images of known defects."""
        return [resize_image(image, size) for image in self.known_images]

    def defect_masks(self, size: ImageSize) -> Tensor:
        """Returns the fraction of each cell that the defect covers, N x height/8 x width/8."""
        rows, columns = count_cells(size, CELL_PIXELS)
        return torch.from_numpy(
            np.stack([cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA) for mask in self.defects.masks])
        )

    @cached_property
    def groups(self) -> list[str]:
        """Groups of the good images that trials use."""
        return [self.split.groups[self.fit_paths[number]] for number in self.trial_indices]

    def extract_features(self, size: ImageSize) -> GoodAndDefectiveFeatures:
        """Returns the float features of the images that trials use."""
        if size not in self._features:
            good_images = [resize_image(image, size) for image in self.trial_images]
            known_images = self.known_defects(size)
            defective_images = self.defective_images(size)
            images = self.progress(
                [*good_images, *defective_images, *known_images], f"float features at {describe(size)} pixels"
            )
            good, others = split_good_and_defective(
                feature_extraction.extract_float_features(efficientnet_lite.load_backbone(self.blocks), images),
                len(good_images),
            )
            made = len(defective_images)
            dtype = torch.float32 if size == self.size else torch.float16
            self._features[size] = GoodAndDefectiveFeatures(
                dict(zip(self.blocks, [level.to(dtype) for level in good], strict=True)),
                dict(zip(self.blocks, [level[:made].to(dtype) for level in others], strict=True)),
                self.defect_masks(size),
                self.defects.kinds,
                self.defects.sources,
                {block: level[made:].half() for block, level in zip(self.blocks, others, strict=True) if known_images},
            )
        return self._features[size]

    def iterate_fit_features(self, size: ImageSize, blocks: Sequence[int]) -> Iterator[list[Tensor]] | None:
        """Float features of all good images, then of those with synthetic defects; None if no trial computed any.

        Only images that no trial has used go through the backbone.
        """
        if size != self.size or size not in self._features:
            return None
        return self._iterate_fit_features(self._features[size], blocks)

    def _iterate_fit_features(self, known: GoodAndDefectiveFeatures, blocks: Sequence[int]) -> Iterator[list[Tensor]]:
        rows = {number: row for row, number in enumerate(self.trial_indices)}
        missing = [image for number, image in enumerate(self._good) if number not in rows]
        batches = feature_extraction.extract_float_features(
            efficientnet_lite.load_backbone(blocks), self.progress(missing, "float features")
        )
        singly = (
            list(image) for batch in batches for image in zip(*(torch.split(level, 1) for level in batch), strict=True)
        )
        for number in range(len(self._good)):
            if number in rows:
                yield [known.good[block][rows[number]][None] for block in blocks]
            else:
                yield next(singly)
        next(singly, None)  # ends the progress
        yield [known.defective[block] for block in blocks]


def make_evaluation_defects(images: Sequence[NDArray[Any]], rng: Rng) -> DefectiveImages:
    """Synthetic defects on good images, as many as the evaluation of a design takes."""
    count = min(MAX_DEFECTIVE_IMAGES, DEFECTS_PER_IMAGE * len(images))
    return synthetic_defects.make_defects(images, count, rng)


def digest_images(images: Iterable[NDArray[Any]]) -> str:
    """Returns the SHA-256 digest of the pixels of all images, in order, as hexadecimal text."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(image.tobytes())
    return digest.hexdigest()


def split_good_and_defective(batches: Iterable[Sequence[Tensor]], count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Concatenates batches of features per level and separates the first `count` images from the rest."""
    columns = [list(level) for level in zip(*batches, strict=True)]
    levels = []
    for column in columns:
        levels.append(torch.cat(column))
        column.clear()  # so that two levels are never in memory twice
    return [level[:count] for level in levels], [level[count:] for level in levels]


def resize_image(image: NDArray[Any], size: ImageSize) -> NDArray[Any]:
    """Scales an image of 1 x H x W x 3 to 1 x height x width x 3."""
    height, width = height_and_width(size)
    if image.shape[1:3] == (height, width):
        return image
    return np.asarray(cv2.resize(image[0], (width, height), interpolation=cv2.INTER_AREA))[None]
