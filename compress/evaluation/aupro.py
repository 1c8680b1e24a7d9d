"""AUPRO: how well an anomaly map covers each defect, large or small, at few false alarms.

Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021: at each level of the map, the share of each connected
defect that lies above it is averaged over the defects (per-region overlap) and held against the share of all fault-free
pixels above it, those of good pictures included. The area under this curve up to a false positive rate of 0.3, divided
by 0.3, is the AUPRO: 1 at best, 0.15 by chance.

It is exact, with no levels sampled: as in the U of Mann and Whitney, each defective pixel adds its weight times what
remains of the axis behind its own false positive rate; where fault-free pixels are equal to it, the curve runs
straight between the rates before and after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

LIMIT = 0.3


def regions(mask: NDArray[Any], anomaly_map: NDArray[Any]) -> list[NDArray[Any]]:
    """The map's values in each defect; pixels that touch, be it at a corner, are one defect.

    Args:
        mask: H x W, bool
        anomaly_map: H x W
    """
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [anomaly_map[labels == label] for label in range(1, count)]


def aupro(fine: NDArray[Any], defects: Sequence[NDArray[Any]], limit: float = LIMIT) -> float:
    """The area, from 0 to 1.

    Args:
        fine: values of all fault-free pixels
        defects: values of each defect's pixels, none of them empty
        limit: false positive rate up to which the curve is integrated
    """
    ordered = np.sort(fine, axis=None)
    shares = []
    for values in defects:
        before = 1 - np.searchsorted(ordered, values, side="right") / len(ordered)
        after = 1 - np.searchsorted(ordered, values, side="left") / len(ordered)
        width = np.maximum(after - before, np.finfo(float).tiny)
        cut = np.square(np.maximum(limit - before, 0)) / (2 * width)
        shares.append(np.where(after <= limit, limit - (before + after) / 2, cut).mean())
    return float(np.mean(shares) / limit)
