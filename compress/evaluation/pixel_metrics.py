"""Whether an anomaly map shows where the defect is: single pixels and whole defects against masks drawn by people.

Both are brought to the size of the model's input, beyond which the model sees nothing; a defect that is smaller than a
pixel there may be lost, and does not count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.metrics import auroc

from ..data import split
from ..data.split import Split
from .aupro import aupro, regions


class Areas(msgspec.Struct, frozen=True):
    """Figures from 0 to 1; None where no truth is known."""

    pixel_auroc: float | None
    aupro: float | None


def areas(good: list[NDArray[Any]], defect: list[NDArray[Any]], truths: dict[int, NDArray[Any]]) -> Areas:
    """AUROC of single pixels and AUPRO, over good images and defective ones whose truth is known.

    Args:
        good: maps of fault-free images, h x w
        defect: maps of defective images
        truths: number of a defective image -> size x size, bool; maps are enlarged to their size
    """
    if not truths:
        return Areas(None, None)
    size = len(next(iter(truths.values())))
    fine = [_enlarge(each, size).ravel() for each in good]
    defects: list[NDArray[Any]] = []
    for number, truth in truths.items():
        enlarged = _enlarge(defect[number], size)
        fine.append(enlarged[~truth])
        defects += regions(truth, enlarged)
    ordinary = np.concatenate(fine)
    return Areas(auroc(ordinary, np.concatenate(defects)), aupro(ordinary, defects))


def _enlarge(anomaly_map: NDArray[Any], size: int) -> NDArray[Any]:
    return np.asarray(cv2.resize(anomaly_map.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR))


def read(images: Split, size: int) -> dict[int, NDArray[Any]]:
    """Number of a defective image -> where it is defective, size x size, bool.

    An empty mask tells nothing, and its image is left out.

    Raises:
        ConfigProblem: a mask cannot be read, or has not the shape of its image.
    """
    truths = {}
    for number, path in enumerate(images.defect):
        if path in images.masks:
            mask = split.read_mask(images.masks[path])
            _agree(images.masks[path], mask.shape, path)
            truth = cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
            if truth.any():
                truths[number] = truth
    return truths


def _agree(path: Path, shape: tuple[int, ...], image: Path) -> None:
    """A mask may be larger or smaller than its image, but its sides have the same ratio, to a pixel."""
    height, width = image_files.read(image).shape[:2]
    if abs(shape[0] * width - shape[1] * height) > max(height, width, *shape):
        hint = f"draw it on {image.name}, or scale both sides alike"
        raise ConfigProblem(f"{path}: {shape[1]} x {shape[0]} does not fit its image of {width} x {height}", hint=hint)
