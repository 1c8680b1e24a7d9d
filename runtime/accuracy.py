"""How well scores tell good from defective, with NumPy alone: workshop and device measure with the same code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def auroc(good: ArrayLike, defect: ArrayLike) -> float:
    """Area under the ROC curve: how often a defective part scores above a good one, ties counting half.

    It is the U of Mann and Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the
    Other" (1947), divided by the number of pairs.
    """
    good, defect = np.sort(np.asarray(good, float)), np.asarray(defect, float)
    below = np.searchsorted(good, defect, side="left")
    upto = np.searchsorted(good, defect, side="right")
    return float((below + upto).mean() / (2 * len(good)))


def auroc_interval(good: ArrayLike, defect: ArrayLike, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval, good and defective parts drawn apart."""
    good, defect = np.asarray(good, float), np.asarray(defect, float)
    rng = np.random.default_rng(seed)
    values = [auroc(rng.choice(good, len(good)), rng.choice(defect, len(defect))) for _ in range(draws)]
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def roc(good: ArrayLike, defect: ArrayLike) -> NDArray[Any]:
    """The ROC curve: rows of (false alarm rate, detection rate), from (0, 0) to (1, 1)."""
    good, defect = np.asarray(good, float), np.asarray(defect, float)
    thresholds = np.unique(np.concatenate([good, defect]))[::-1]
    points = [((good >= each).mean(), (defect >= each).mean()) for each in thresholds]
    return np.array([(0.0, 0.0), *points])
