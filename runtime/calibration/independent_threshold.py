"""The conformal threshold from good scores of independent parts, with NumPy alone, for a device.

It is the threshold of a build (compress/evaluation/conformal_threshold.py has the reasons) for parts without groups:
the lowest score that keeps the target rate with the confidence 1 - RISK. If the images are too few for that, it lies
above all of them, or where an extreme-value tail reaches the target rate, if that is higher.
"""

from __future__ import annotations

from math import ceil, exp, floor, inf, lgamma, log, log1p
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from . import extreme_value_tail
from .good_scores import MIN_TAIL_SCORES

RISK = 0.05
"""Probability that a stated bound on the false-alarm rate is wrong; the confidence is 1 - RISK."""
Method = Literal["conformal", "extreme value", "above all"]


class IndependentThreshold(msgspec.Struct, frozen=True):
    """A threshold, and the rate of unseen good parts that it guarantees."""

    score: float
    rate_bound: float
    """Upper bound of the share of good parts at or above it, with confidence 1 - RISK."""
    expected_rate: float
    required_images: int
    """Number of images that the target rate requires."""
    method: Method


def choose_threshold(
    scores: NDArray[Any], step: float, target_rate: float, max_score: float = inf
) -> IndependentThreshold:
    """The lowest threshold that meets the target rate with confidence 1 - RISK, or the nearest possible.

    Args:
        scores: scores of good images of different parts, multiples of `step`
        step: smallest difference between two scores; the threshold lies half a step above a score
        target_rate: share of good parts that may raise an alarm
        max_score: highest possible score; the threshold stays below it
    """
    ordered = np.sort(np.asarray(scores, float))
    count = len(ordered)
    allowed = 0
    while allowed < count and exceedance_bound(allowed, count, 1 - RISK) <= target_rate:
        allowed += 1
    above = max(allowed - 1, 0)
    threshold = IndependentThreshold(
        score=float(ordered[count - 1 - above] + step / 2),
        rate_bound=exceedance_bound(above, count, 1 - RISK),
        expected_rate=(above + 1) / (count + 1),
        required_images=ceil(log(RISK) / log1p(-target_rate)),
        method="conformal" if allowed else "above all",
    )
    if allowed or count < MIN_TAIL_SCORES or (tail := extreme_value_tail.fit_tail(ordered)) is None:
        return threshold
    score = place_between_scores(min(tail.quantile(target_rate), max_score - step), step)
    if score <= threshold.score:
        return threshold
    return msgspec.structs.replace(threshold, score=score, method="extreme value")


def place_between_scores(wanted: float, step: float) -> float:
    """The threshold half a step above the highest score that `wanted` reaches, so that rounding decides nothing.

    Args:
        wanted: a threshold
        step: smallest difference between two scores, which are multiples of it
    """
    return step * (floor(wanted / step + 1e-6) + 0.5)


def exceedance_bound(above: int, count: int, confidence: float) -> float:
    """Upper bound of the true rate above a threshold that `above` of `count` independent scores exceed.

    It is the rate at which so few or fewer exceedances have the probability 1 - `confidence` (Clopper and Pearson, "The
    use of confidence or fiducial limits illustrated in the case of the binomial", 1934), found by bisection.
    """
    if above >= count:
        return 1.0
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        rate = (low + high) / 2
        if binomial_probability(above, count, rate) > 1 - confidence:
            low = rate
        else:
            high = rate
    return high


def binomial_probability(at_most: int, count: int, rate: float) -> float:
    """The probability of at most `at_most` hits in `count` independent trials, for a rate strictly between 0 and 1."""
    terms = (
        lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1) + k * log(rate) + (count - k) * log1p(-rate)
        for k in range(at_most + 1)
    )
    return sum(map(exp, terms))
