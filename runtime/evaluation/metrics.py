"""How well a model tells good from defective, or one class from another.

With NumPy alone: workshop and device measure with the same code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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


def confusion(truth: ArrayLike, said: ArrayLike, classes: int) -> NDArray[np.int64]:
    """How many images of each class (rows) were called what (columns), classes x classes."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (np.asarray(truth, int), np.asarray(said, int)), 1)
    return counts


def share_interval(count: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `count` in `trials` were seen.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927).
    """
    z = 1.959964
    share = count / trials
    centre = share + z**2 / (2 * trials)
    spread = z * float(np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)))
    return (centre - spread) / (1 + z**2 / trials), (centre + spread) / (1 + z**2 / trials)


class Bin(NamedTuple):
    """Answers of like confidence."""

    confidence: float
    """Their mean."""
    accuracy: float
    """Share of them that is right."""
    images: int


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = 15) -> list[Bin]:
    """The answers in bins of equal width in confidence; empty bins are left out."""
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    groups = [place == number for number in range(bins)]
    return [Bin(float(confidence[g].mean()), float(right[g].mean()), int(g.sum())) for g in groups if g.any()]


def calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = 15) -> float:
    """ECE: how far confidence and accuracy are apart, bin by bin, weighted by the images in each.

    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (2015). With few images it is too
    high on average, for chance alone sets them apart.
    """
    found = reliability(confidence, right, bins)
    return sum(each.images * abs(each.confidence - each.accuracy) for each in found) / sum(
        each.images for each in found
    )
