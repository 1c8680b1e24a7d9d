"""Localization metrics: how well an anomaly map agrees with the masks of the defects, by pixel and by defect.

Maps and masks are resized to the size of the model's input, because the model sees no finer detail. A defect that is
smaller than a pixel there may be lost, and does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.heads.anomaly import find_peak, surround
from vedette.runtime.inference.inspector import Inspector

from ..data import split
from ..data.split import Split
from ..models.image_size import ImageSize, height_and_width
from .aupro import compute_overlap_areas, extract_defect_regions

Interval = tuple[float, float]


class PixelMetrics(msgspec.Struct, frozen=True):
    """Pixel AUROC and AUPRO, from 0 to 1, and how well the strongest anomaly shows the defect; None without masks."""

    pixel_auroc: float | None = None
    aupro: float | None = None
    aupro_interval: Interval | None = None
    """95 % bootstrap interval, resampling defective images."""
    box_iou: float | None = None
    """Mean overlap (intersection over union) of the box with the rectangle around the defect that it overlaps most."""
    box_iou_interval: Interval | None = None
    area_ratio: float | None = None
    """Median area of the strongest anomaly, as a multiple of the area of the defect that its box overlaps most."""
    area_ratio_interval: Interval | None = None


def compute_pixel_metrics(
    good: list[NDArray[Any]], defect: list[NDArray[Any]], masks: dict[int, NDArray[Any]]
) -> PixelMetrics:
    """Localization metrics over the good images and the defective images with a mask.

    Args:
        good: anomaly maps of good images, each h x w
        defect: anomaly maps of defective images
        masks: index of a defective image -> its mask, height x width, bool; maps are enlarged to that size
    """
    if not masks:
        return PixelMetrics()
    size = next(iter(masks.values())).shape
    fault_free_parts = [_enlarge(anomaly_map, size).ravel() for anomaly_map in good]
    regions: list[list[NDArray[Any]]] = []
    for index, mask in masks.items():
        enlarged = _enlarge(defect[index], size)
        fault_free_parts.append(enlarged[~mask])
        regions.append(extract_defect_regions(mask, enlarged))
    fault_free, defects = np.concatenate(fault_free_parts), [each for image in regions for each in image]
    areas = compute_overlap_areas(fault_free, defects)
    counts = np.array([len(image) for image in regions])
    sums = np.array([image.sum() for image in np.split(areas, np.cumsum(counts)[:-1])])
    shown = [_compare_with_mask(defect[index], mask) for index, mask in masks.items()]
    overlaps = np.array([overlap for overlap, _ in shown])
    ratios = np.array([ratio for _, ratio in shown if ratio is not None])
    return PixelMetrics(
        auroc(fault_free, np.concatenate(defects)),
        float(areas.mean()),
        _bootstrap(lambda total, count, axis=-1: total.sum(axis) / count.sum(axis), sums, counts),
        float(overlaps.mean()),
        _bootstrap(np.mean, overlaps),
        float(np.median(ratios)) if len(ratios) else None,
        _bootstrap(np.median, ratios),
    )


def _compare_with_mask(anomaly_map: NDArray[Any], mask: NDArray[Any]) -> tuple[float, float | None]:
    """Overlap of the box with the rectangle around the defect that it overlaps most, and the area as a multiple of that
    of the defect; None if the box overlaps no defect.
    """
    height, width = mask.shape
    cells = find_peak(anomaly_map)
    box, share = surround(cells), float(cells.mean())
    left, top, right, bottom = box.left * width, box.top * height, box.right * width, box.bottom * height
    best, ratio = 0.0, None
    for x, y, across, down, pixels in cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2][1:]:
        shared = max(0.0, min(right, x + across) - max(left, x)) * max(0.0, min(bottom, y + down) - max(top, y))
        overlap = shared / ((right - left) * (bottom - top) + across * down - shared)
        if overlap > best:
            best, ratio = float(overlap), share * mask.size / float(pixels)
    return best, ratio


def _bootstrap(statistic: Callable[..., Any], *samples: NDArray[Any]) -> Interval | None:
    """The 95 % percentile interval of a statistic of paired samples; None for fewer than two."""
    if len(samples[0]) < 2:
        return None
    found = stats.bootstrap(samples, statistic, paired=True, method="percentile", n_resamples=1000, rng=0)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _enlarge(anomaly_map: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    return np.asarray(cv2.resize(anomaly_map.astype(np.float32), size[1::-1], interpolation=cv2.INTER_LINEAR))


def read_masks(images: Split, size: ImageSize, inspector: Inspector | None = None) -> dict[int, NDArray[Any]]:
    """The masks by index of the defective image, each height x width, bool. Images with an empty mask are left out.

    Args:
        images: the split of the images
        size: size of the masks
        inspector: cuts what the model sees out of an image; None: the model sees the whole image

    Raises:
        ConfigProblem: a mask cannot be read, or has another aspect ratio than its image.
    """
    masks, shape = {}, height_and_width(size)[::-1]
    for index, path in enumerate(images.defect):
        if path in images.masks:
            original = split.read_mask(images.masks[path])
            image = image_files.read_image(path)
            _check_aspect_ratio(images.masks[path], original.shape, path, image.shape)
            mask: NDArray[Any] = original.astype(np.uint8)
            if inspector is None:
                mask = np.asarray(cv2.resize(mask, shape, interpolation=cv2.INTER_NEAREST))
            else:
                _, placement = inspector.view(image, shape, cv2.INTER_AREA)
                mask = inspector.cut_mask(mask, placement, shape)
            if mask.any():
                masks[index] = mask > 0
    return masks


def _check_aspect_ratio(path: Path, shape: tuple[int, ...], image: Path, image_shape: tuple[int, ...]) -> None:
    """Raise a ConfigProblem unless a mask has the aspect ratio of its image, to a pixel. Its size may differ."""
    height, width = image_shape[:2]
    if abs(shape[0] * width - shape[1] * height) > max(height, width, *shape):
        hint = f"draw the mask on {image.name}, or scale both sides alike"
        raise ConfigProblem(f"{path}: {shape[1]} x {shape[0]} does not fit its image of {width} x {height}", hint=hint)
