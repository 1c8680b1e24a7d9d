"""Metrics of anomaly models and classifiers: AUROC, ROC curve, confusion matrix, calibration.

It needs NumPy only: build machine and device measure with the same code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


def auroc(good: ArrayLike, defect: ArrayLike) -> float:
    """Area under the ROC curve: the probability that a defective part scores above a good one; ties count half.

    It is the U of Mann and Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the
    Other" (1947), divided by the number of pairs.
    """
    good, defect = np.sort(np.asarray(good, float)), np.asarray(defect, float)
    lower = np.searchsorted(good, defect, side="left")
    up_to = np.searchsorted(good, defect, side="right")
    return float((lower + up_to).mean() / (2 * len(good)))


def auroc_interval(good: ArrayLike, defect: ArrayLike, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the AUROC, resampling good and defective parts separately."""
    good, defect = np.asarray(good, float), np.asarray(defect, float)
    rng = np.random.default_rng(seed)
    values = [auroc(rng.choice(good, len(good)), rng.choice(defect, len(defect))) for _ in range(draws)]
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def roc_curve(good: ArrayLike, defect: ArrayLike) -> NDArray[Any]:
    """The ROC curve: rows of (false alarm rate, detection rate), from (0, 0) to (1, 1)."""
    good, defect = np.asarray(good, float), np.asarray(defect, float)
    thresholds = np.unique(np.concatenate([good, defect]))[::-1]
    points = [((good >= each).mean(), (defect >= each).mean()) for each in thresholds]
    return np.array([(0.0, 0.0), *points])


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, class_count: int) -> NDArray[np.int64]:
    """Number of images of each class (rows) by their predicted class (columns), classes x classes."""
    counts = np.zeros((class_count, class_count), np.int64)
    np.add.at(counts, (np.asarray(truth, int), np.asarray(predicted, int)), 1)
    return counts


def wilson_interval(count: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a rate with `count` hits in `trials`.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927).
    """
    z = 1.959964
    rate = count / trials
    centre = rate + z**2 / (2 * trials)
    half_width = z * float(np.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2)))
    return (centre - half_width) / (1 + z**2 / trials), (centre + half_width) / (1 + z**2 / trials)


class ReliabilityBin(NamedTuple):
    """Answers of similar confidence."""

    confidence: float
    """Mean confidence."""
    accuracy: float
    """Fraction of right answers."""
    images: int


def reliability_diagram(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> list[ReliabilityBin]:
    """The answers in bins of equal width in confidence, without empty bins."""
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, bool)
    bin_index = np.minimum((confidence * bins).astype(int), bins - 1)
    groups = [bin_index == number for number in range(bins)]
    return [
        ReliabilityBin(float(confidence[g].mean()), float(correct[g].mean()), int(g.sum())) for g in groups if g.any()
    ]


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """ECE: the difference of confidence and accuracy in each bin, averaged with the number of images as weight.

    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (2015). With few images it is too
    high on average, because chance alone separates confidence and accuracy.
    """
    reliability = reliability_diagram(confidence, correct, bins)
    return sum(each.images * abs(each.confidence - each.accuracy) for each in reliability) / sum(
        each.images for each in reliability
    )


class ClassificationResult(NamedTuple):
    """Metrics of a classifier that answers only if its confidence reaches a threshold."""

    accuracy: float
    """Fraction of the images whose likeliest class is right, at any confidence."""
    accuracy_interval: tuple[float, float]
    calibration_error: float
    coverage: float
    """Fraction of the images that are answered."""
    accuracy_answered: float | None
    """Fraction of right answers; None: there is no answer."""
    answered: int
    errors: int
    """Wrong answers."""


def evaluate_classification(confidence: ArrayLike, correct: ArrayLike, min_confidence: float) -> ClassificationResult:
    """Accuracy, calibration and coverage of a classifier.

    Args:
        confidence: probability of the likeliest class, n
        correct: True if the likeliest class is right, n
        min_confidence: least confidence of an answer
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, bool)
    answered = confidence >= min_confidence
    return ClassificationResult(
        accuracy=float(correct.mean()),
        accuracy_interval=wilson_interval(int(correct.sum()), len(correct)),
        calibration_error=expected_calibration_error(confidence, correct),
        coverage=float(answered.mean()),
        accuracy_answered=float(correct[answered].mean()) if answered.any() else None,
        answered=int(answered.sum()),
        errors=int((answered & ~correct).sum()),
    )
