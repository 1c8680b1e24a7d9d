"""Calibrated confidence of a classifier and the threshold for `unknown`, from held-out images.

    temperature      the number that divides all scores, chosen so that the probabilities of held-out images have the
                     least cross-entropy (Guo et al., "On Calibration of Modern Neural Networks", 2017). It does not
                     change an answer, only its probability
    min_probability  the probability below which the answer is `unknown`: the lowest that keeps the share of wrong
                     answers at the target (Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks",
                     2017)

For n answers with k wrong ones, the expected error rate is (k + 1) / (n + 1), so that few images promise little. If no
threshold reaches the target, the one with the lowest expected error rate is chosen. The threshold is chosen among many
on the same images, which is slightly optimistic; the test images show by how much.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.inference.heads.classify import softmax

_MIN_TEMPERATURE, _MAX_TEMPERATURE, _ITERATIONS = 0.05, 20.0, 60
_GOLDEN_RATIO = (5**0.5 - 1) / 2


class ConfidenceThreshold(msgspec.Struct, frozen=True):
    """Temperature of the probabilities, and the threshold between answers and `unknown`."""

    temperature: float
    min_probability: float = msgspec.field(name="level")
    """The least probability of an answer."""
    target_error_rate: float = msgspec.field(name="wished")
    """Share of the answers that may be wrong."""
    expected_error_rate: float = msgspec.field(name="promised")
    """Expected share of wrong answers, from the sample."""
    images: int
    """Size of the sample."""
    coverage: float
    """Share of the sample that is answered."""


def choose_temperature_and_threshold(
    scores: NDArray[Any], labels: NDArray[Any], target_error_rate: float
) -> ConfidenceThreshold:
    """Choose temperature and threshold on images that nothing was fitted to.

    Args:
        scores: n x K
        labels: true class of each image, n
        target_error_rate: share of the answers that may be wrong
    """
    temperature = fit_temperature(scores, labels)
    probabilities = softmax(scores, temperature)
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    confidence = probabilities.max(axis=1)[order]
    errors = np.cumsum((probabilities.argmax(axis=1) != labels)[order])
    answers = np.arange(1, len(confidence) + 1)
    expected_error_rates = (errors + 1) / (answers + 1)
    next_confidence = np.append(confidence[1:], 1 / scores.shape[1])  # the likeliest of K classes has at least 1 / K
    separable = confidence > next_confidence  # a threshold cannot separate equal values
    separable[-1] = True
    acceptable = np.flatnonzero(separable & (expected_error_rates <= target_error_rate))
    lowest = np.where(separable, expected_error_rates, np.inf).argmin()
    last = int(acceptable[-1]) if len(acceptable) else int(lowest)
    return ConfidenceThreshold(
        temperature=temperature,
        min_probability=float(confidence[last] + next_confidence[last]) / 2,
        target_error_rate=target_error_rate,
        expected_error_rate=float(expected_error_rates[last]),
        images=len(confidence),
        coverage=float(answers[last] / len(confidence)),
    )


def fit_temperature(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """The temperature of the least cross-entropy, by golden-section search on its logarithm; there is one minimum.

    If every answer is right, the cross-entropy falls with the temperature without end, and nothing would ever be
    `unknown`. So the target of the true class is not 1 but (n + 1) / (n + K) for n images and K classes, as in Platt,
    "Probabilistic Outputs for Support Vector Machines" (1999).

    Args:
        scores: n x K
        labels: true class of each image, n
    """
    low, high = np.log(_MIN_TEMPERATURE), np.log(_MAX_TEMPERATURE)
    for _ in range(_ITERATIONS):
        left, right = high - _GOLDEN_RATIO * (high - low), low + _GOLDEN_RATIO * (high - low)
        if cross_entropy(scores, labels, np.exp(left)) < cross_entropy(scores, labels, np.exp(right)):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def cross_entropy(scores: NDArray[Any], labels: NDArray[Any], temperature: float) -> float:
    """Mean cross-entropy of the probabilities against the smoothed labels of `fit_temperature`."""
    images, classes = scores.shape
    target = np.full(scores.shape, 1 / (images + classes))
    target[np.arange(images), labels] = (images + 1) / (images + classes)
    return float(-(target * np.log(softmax(scores, temperature).clip(min=1e-300))).sum(axis=1).mean())
