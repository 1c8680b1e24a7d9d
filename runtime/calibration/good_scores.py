"""Calibration of scores: how rare a score is among good parts.

A score gets a p-value, the expected share of good parts with at least this score. Up to the highest of n held-out good
scores it is the conformal p-value, (k + 1) / (n + 1) if k of them are as high (Vovk, Gammerman and Shafer, "Algorithmic
Learning in a Random World", 2005): a new good part has a p-value of at most a with a probability of at most a, whatever
the distribution. Above all of them it falls as the expected rate of an extreme-value tail does, which is an
extrapolation; with fewer than MIN_TAIL_SCORES scores it stays at 1 / (n + 1).

Images of one group resemble each other: they count as fewer (`sample_weight`).
"""

from __future__ import annotations

from math import exp, log
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from . import extreme_value_tail

MIN_TAIL_SCORES = 30  # scores that a tail needs
MAX_LEVELS = 48  # levels within the sample; between two levels, the p-value is the geometric interpolation
TAIL_LEVELS = 24
MIN_P_VALUE = 1e-6
BAND = (0.1, 0.9)  # quantiles of the good scores between which most good parts lie


class GoodScores(msgspec.Struct, frozen=True):
    """Distribution of the scores of n good images that no fit has used."""

    images: int
    median: float
    band: tuple[float, float]
    """The quantiles of BAND."""
    levels: tuple[float, ...]
    """Scores, increasing."""
    rates: tuple[float, ...]
    """The p-value of each level, decreasing."""

    def p_value(self, score: float) -> float:
        """The expected share of good parts with at least this score."""
        if score <= self.levels[0]:
            return 1.0
        return exp(float(np.interp(score, self.levels, [log(rate) for rate in self.rates])))

    def shift(self, offset: float) -> GoodScores:
        """The same distribution, `offset` lower."""
        low, high = self.band
        return msgspec.structs.replace(
            self,
            median=self.median - offset,
            band=(low - offset, high - offset),
            levels=tuple(level - offset for level in self.levels),
        )


def summarize(scores: NDArray[Any], step: float, max_score: float, sample_weight: float = 1.0) -> GoodScores:
    """The distribution of held-out good scores.

    Args:
        scores: scores of n good images, at least one; multiples of `step`
        step: smallest difference between two scores
        max_score: highest possible score
        sample_weight: effective number of independent scores per score
    """
    ordered = np.sort(np.asarray(scores, float))
    levels = np.unique(ordered)
    if len(levels) > MAX_LEVELS:  # denser towards the highest
        steps = np.linspace(0, 1, MAX_LEVELS)
        levels = levels[np.unique(np.rint((1 - (1 - steps) ** 2) * (len(levels) - 1)).astype(int))]
    above = len(ordered) - np.searchsorted(ordered, levels)
    rates = (above * sample_weight + 1) / (len(ordered) * sample_weight + 1)
    rates[0] = 1.0
    if levels[-1] + step <= max_score:
        beyond = np.linspace(levels[-1] + step, max_score, TAIL_LEVELS)
        levels, rates = np.append(levels, beyond), np.append(rates, _rates_beyond(ordered, beyond, sample_weight))
    return GoodScores(
        images=len(ordered),
        median=_rounded(np.median(ordered)),
        band=(_rounded(np.quantile(ordered, BAND[0])), _rounded(np.quantile(ordered, BAND[1]))),
        levels=tuple(map(_rounded, levels)),
        rates=tuple(float(f"{rate:.4g}") for rate in rates),
    )


def _rates_beyond(ordered: NDArray[Any], levels: NDArray[Any], sample_weight: float) -> NDArray[Any]:
    """The p-values of levels above all scores."""
    highest = 1 / (len(ordered) * sample_weight + 1)
    tail = extreme_value_tail.fit_tail(ordered) if len(ordered) * sample_weight >= MIN_TAIL_SCORES else None
    if tail is None or ordered[-1] <= tail.location:
        return np.full(len(levels), highest)
    expected = tail.expected_rates(np.append(ordered[-1], levels), sample_weight)
    return np.asarray(np.maximum(highest * expected[1:] / expected[0], MIN_P_VALUE))


def _rounded(score: float) -> float:
    return float(f"{score:.6g}")
