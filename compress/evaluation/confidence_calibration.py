"""How sure a classifier must be to be heard, from images that nothing has been fitted to.

    temperature  one number that all scores are divided by, such that the probabilities of held-out images are the
                 likeliest (Guo et al., "On Calibration of Modern Neural Networks", 2017). It changes no answer, only
                 how sure it sounds
    level        the probability below which the answer is `unknown`: the lowest that keeps the wrong ones among the
                 answers as rare as wished (Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks",
                 2017)

Of n answers with k wrong ones, (k + 1) / (n + 1) is taken for the share to expect, so that few images promise little.
Where no level keeps the wish, the one with the best promise is taken, and it is said what that is. The level is chosen
among many on the same images, which flatters a little: the test images tell by how much.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.inference.heads.classify import softmax

_COLDEST, _HOTTEST, _ROUNDS = 0.05, 20.0, 60
_GOLDEN = (5**0.5 - 1) / 2


class Confidence(msgspec.Struct, frozen=True):
    """A line between answers and `unknown`."""

    temperature: float
    level: float
    """The least probability of an answer."""
    wished: float
    """Share of the answers that may be wrong."""
    promised: float
    """Share that the sample can vouch for."""
    images: int
    coverage: float
    """Share of the sample that is answered."""


def choose(scores: NDArray[Any], truth: NDArray[Any], wished: float) -> Confidence:
    """Temperature and level for images that nothing has been fitted to.

    Args:
        scores: n x K
        truth: the right class of each, n
        wished: share of the answers that may be wrong
    """
    temperature = fit_temperature(scores, truth)
    probabilities = softmax(scores, temperature)
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    sure = probabilities.max(axis=1)[order]
    wrong = np.cumsum((probabilities.argmax(axis=1) != truth)[order])
    answered = np.arange(1, len(sure) + 1)
    expected = (wrong + 1) / (answered + 1)
    next_sure = np.append(sure[1:], 1 / scores.shape[1])  # no class can be the likeliest with less
    possible = sure > next_sure  # a level cannot divide equals
    possible[-1] = True
    kept = np.flatnonzero(possible & (expected <= wished))
    last = int(kept[-1]) if len(kept) else int(np.where(possible, expected, np.inf).argmin())
    return Confidence(
        temperature=temperature,
        level=float(sure[last] + next_sure[last]) / 2,
        wished=wished,
        promised=float(expected[last]),
        images=len(sure),
        coverage=float(answered[last] / len(sure)),
    )


def fit_temperature(scores: NDArray[Any], truth: NDArray[Any]) -> float:
    """The temperature that makes the right classes likeliest, by golden section on its logarithm: one minimum is there.

    Where every answer is right, colder would always be better, and nothing would ever be unknown. So of n images one
    more of each class is taken to be possible everywhere: a right class is not 1 but (n + 1) / (n + K), as in Platt,
    "Probabilistic Outputs for Support Vector Machines" (1999).
    """
    low, high = np.log(_COLDEST), np.log(_HOTTEST)
    for _ in range(_ROUNDS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if surprise(scores, truth, np.exp(left)) < surprise(scores, truth, np.exp(right)):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def surprise(scores: NDArray[Any], truth: NDArray[Any], temperature: float) -> float:
    """Mean cross-entropy between the probabilities and what is taken to be the case."""
    images, classes = scores.shape
    target = np.full(scores.shape, 1 / (images + classes))
    target[np.arange(images), truth] = (images + 1) / (images + classes)
    return float(-(target * np.log(softmax(scores, temperature).clip(min=1e-300))).sum(axis=1).mean())
