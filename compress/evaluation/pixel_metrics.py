"""Localization metrics: how well an anomaly map agrees with the masks of the defects, by pixel and by defect.

Maps and masks are resized to the size of the model's input, because the model sees no finer detail. A defect that is
smaller than a pixel there may be lost, and does not count.
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
from vedette.runtime.inference.inspector import Inspector

from ..data import split
from ..data.split import Split
from .aupro import compute_aupro, extract_defect_regions


class PixelMetrics(msgspec.Struct, frozen=True):
    """Pixel AUROC and AUPRO, from 0 to 1; None without masks."""

    pixel_auroc: float | None
    aupro: float | None


def compute_pixel_metrics(
    good: list[NDArray[Any]], defect: list[NDArray[Any]], masks: dict[int, NDArray[Any]]
) -> PixelMetrics:
    """Pixel AUROC and AUPRO over the good images and the defective images with a mask.

    Args:
        good: anomaly maps of good images, each h x w
        defect: anomaly maps of defective images
        masks: index of a defective image -> its mask, size x size, bool; maps are enlarged to that size
    """
    if not masks:
        return PixelMetrics(None, None)
    size = len(next(iter(masks.values())))
    fault_free_parts = [_enlarge(anomaly_map, size).ravel() for anomaly_map in good]
    defects: list[NDArray[Any]] = []
    for index, mask in masks.items():
        enlarged = _enlarge(defect[index], size)
        fault_free_parts.append(enlarged[~mask])
        defects += extract_defect_regions(mask, enlarged)
    fault_free = np.concatenate(fault_free_parts)
    return PixelMetrics(auroc(fault_free, np.concatenate(defects)), compute_aupro(fault_free, defects))


def _enlarge(anomaly_map: NDArray[Any], size: int) -> NDArray[Any]:
    return np.asarray(cv2.resize(anomaly_map.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR))


def read_masks(images: Split, size: int, inspector: Inspector | None = None) -> dict[int, NDArray[Any]]:
    """The masks by index of the defective image, each size x size, bool. Images with an empty mask are left out.

    Args:
        images: the split of the images
        size: height and width of the masks, in pixels
        inspector: cuts what the model sees out of an image; None: the model sees the whole image

    Raises:
        ConfigProblem: a mask cannot be read, or has another aspect ratio than its image.
    """
    masks = {}
    for index, path in enumerate(images.defect):
        if path in images.masks:
            original = split.read_mask(images.masks[path])
            image = image_files.read_image(path)
            _check_aspect_ratio(images.masks[path], original.shape, path, image.shape)
            mask: NDArray[Any] = original.astype(np.uint8)
            if inspector is None:
                mask = np.asarray(cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST))
            else:
                _, placement = inspector.view(image, (size, size), cv2.INTER_AREA)
                mask = inspector.cut_mask(mask, placement, (size, size))
            if mask.any():
                masks[index] = mask > 0
    return masks


def _check_aspect_ratio(path: Path, shape: tuple[int, ...], image: Path, image_shape: tuple[int, ...]) -> None:
    """Raise a ConfigProblem unless a mask has the aspect ratio of its image, to a pixel. Its size may differ."""
    height, width = image_shape[:2]
    if abs(shape[0] * width - shape[1] * height) > max(height, width, *shape):
        hint = f"draw the mask on {image.name}, or scale both sides alike"
        raise ConfigProblem(f"{path}: {shape[1]} x {shape[0]} does not fit its image of {width} x {height}", hint=hint)
