"""AUPRO: area under the per-region overlap curve, which weighs each defect alike, large or small.

Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021: at each threshold of the anomaly map, the share of
each connected defect above the threshold is averaged over the defects (per-region overlap), and plotted over the false
positive rate of all fault-free pixels, those of good images included. The AUPRO is the area under this curve up to a
false positive rate of 0.3, divided by 0.3: 1 at best, 0.15 by chance.

The area is exact, without sampled thresholds. As in the U statistic of Mann and Whitney, each defective pixel adds its
weight times the remaining axis above its own false positive rate; where fault-free pixels have the same value, the
curve is a straight line between the rates before and after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_FALSE_POSITIVE_RATE = 0.3


def extract_defect_regions(mask: NDArray[Any], anomaly_map: NDArray[Any]) -> list[NDArray[Any]]:
    """The values of the anomaly map in each defect; pixels that touch, also at a corner, are one defect.

    Args:
        mask: H x W, bool
        anomaly_map: H x W
    """
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [anomaly_map[labels == label] for label in range(1, count)]


def compute_aupro(
    fault_free: NDArray[Any],
    defects: Sequence[NDArray[Any]],
    max_false_positive_rate: float = MAX_FALSE_POSITIVE_RATE,
) -> float:
    """The AUPRO, from 0 to 1; arguments as in `compute_overlap_areas`."""
    return float(compute_overlap_areas(fault_free, defects, max_false_positive_rate).mean())


def compute_overlap_areas(
    fault_free: NDArray[Any],
    defects: Sequence[NDArray[Any]],
    max_false_positive_rate: float = MAX_FALSE_POSITIVE_RATE,
) -> NDArray[Any]:
    """The share of the area that each defect contributes, from 0 to 1; their mean is the AUPRO.

    Args:
        fault_free: values of all fault-free pixels
        defects: values of the pixels of each defect, none of them empty
        max_false_positive_rate: upper end of the integral
    """
    limit = max_false_positive_rate
    ordered = np.sort(fault_free, axis=None)
    areas = []
    for values in defects:
        before = 1 - np.searchsorted(ordered, values, side="right") / len(ordered)
        after = 1 - np.searchsorted(ordered, values, side="left") / len(ordered)
        width = np.maximum(after - before, np.finfo(float).tiny)
        partial = np.square(np.maximum(limit - before, 0)) / (2 * width)
        areas.append(np.where(after <= limit, limit - (before + after) / 2, partial).mean())
    return np.array(areas) / limit
