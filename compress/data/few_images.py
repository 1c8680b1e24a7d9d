"""Builds from few good images: fewer than four parts of a split need.

Below MIN_SPLIT_IMAGES good images, each part of the split would hold a handful, and each image that is held out is
missed in the fit. So all images are in the parts fit, calibrate and threshold alike, and only fixed test images
(`data.test`) are held out. There are no trials. Below MIN_PADIM_IMAGES the anomaly model is PatchCore, which needs no
statistics of each location, and from there on PaDiM (docs/accuracy.md, "Few images"). Each image is used with
variations of itself.

The threshold comes from cross-validation (compress/evaluation/few_images_threshold.py), and no false-alarm rate is
proven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from vedette.runtime.errors import ConfigProblem

from ..goal.augmentation_settings import AugmentationSettings
from ..goal.goal_tables import ModelTable

MIN_SPLIT_IMAGES = 20
"""Good images, without the test images, from which on they are divided between the parts of the split."""
AUGMENTATION = AugmentationSettings()
"""Variations of each image, unless the goal has a table `[augment]`."""
FIXED_PARTS = AugmentationSettings(shift=0.006, rotate=0.4, light=0.05)
"""The same for a golden sample, whose parts lie alike or are aligned, and move by a pixel or two. Variations that move
more would set the scale of its map, and the integers of small differences would be lost."""
MIN_COPIES, MAX_COPIES, TOTAL_IMAGES = 1, 15, 32  # variations of an image; images with all of their variations
MIN_PADIM_IMAGES = 4
BLOCKS = (4, 10)


def is_few(members: Mapping[str, list[Path]]) -> bool:
    """Whether these images, by group, are too few for a split."""
    return sum(map(len, members.values())) < MIN_SPLIT_IMAGES


def assign_parts(members: Mapping[str, list[Path]], folder: Path) -> dict[str, list[Path]]:
    """Assigns all images to each of the parts fit, calibrate and threshold, and none to test.

    Raises:
        ConfigProblem: there is no image.
    """
    images = sorted(path for paths in members.values() for path in paths)
    if not images:
        raise ConfigProblem(
            f"{folder}: no good images to fit a model to",
            hint="give at least one image of a good part; better hundreds",
        )
    return dict.fromkeys(("fit", "calibrate", "threshold"), images) | {"test": []}


def count_copies(images: int) -> int:
    """Number of variations of each of these images."""
    return max(MIN_COPIES, min(MAX_COPIES, TOTAL_IMAGES // images - 1))


def fix_design(model: ModelTable, images: int) -> ModelTable:
    """The table with one design for so few images instead of `auto`."""
    if model.detector != "auto":
        return model
    detector = "padim" if images >= MIN_PADIM_IMAGES else "patchcore"
    return msgspec.structs.replace(model, detector=detector, blocks=model.blocks or BLOCKS)


def describe(good: int, tested: Sequence[Path]) -> str:
    """One line for the log: what is done with so few images.

    Args:
        good: number of good images without the test images
        tested: all test images
    """
    images = "1 good image" if good == 1 else f"{good} good images"
    measured = "the test images measure the model" if tested else "without test images nothing measures it"
    return (
        f"few images: {images}, so all are used to fit, with variations, and for the threshold; {measured}. "
        f"From {MIN_SPLIT_IMAGES} on they are divided"
    )
