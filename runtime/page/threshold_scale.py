"""The histogram of a camera's scores beside those of the workshop, and the scale on which a threshold is chosen."""

from __future__ import annotations

from math import ceil, floor, log10

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..calibration.good_scores import GoodScores

BINS = 48
_STEPS = 200  # at least, over the scale


class ScoreBar(msgspec.Struct, frozen=True):
    """One bar of the histogram, in the units of a drawing of 1000 x 1000."""

    left: float
    width: float
    box: float
    """Height: share of this box's scores."""
    workshop: float
    """Height: share of the workshop's good scores."""


class ThresholdScale(msgspec.Struct, frozen=True):
    """What the histogram shows."""

    low: float
    high: float
    step: float
    """Of the slider."""
    bars: tuple[ScoreBar, ...]

    def place(self, score: float) -> float:
        """Where a score lies on the scale, 0 to 1000."""
        return 1000 * min(max((score - self.low) / (self.high - self.low), 0.0), 1.0)


def make_scale(scores: NDArray[np.float64], good: GoodScores | None, threshold: float) -> ThresholdScale:
    """The scale that holds all scores, the workshop's and the threshold.

    Args:
        scores: of this box; may be empty
        good: of the workshop; None: unknown
        threshold: of now
    """
    values = [0.0, 1.25 * threshold, *([float(scores.min()), 1.1 * float(scores.max())] if len(scores) else [])]
    if good is not None:
        values += [good.levels[0], _highest_sample(good)]
    lowest, highest = min(values), max(values)
    if len(scores) and highest > 2 * threshold > 0:  # a few high scores would press the others into one bar
        highest = max(2 * threshold, float(np.quantile(scores, 0.999)))
    step = 10.0 ** floor(log10(max(highest - lowest, 1e-6) / _STEPS))
    low, high = floor(lowest / step) * step, max(ceil(highest / step), floor(lowest / step) + 1) * step
    edges = np.linspace(low, high, BINS + 1)
    counts = np.histogram(np.clip(scores, low, high), edges)[0] / max(len(scores), 1)
    if good is None:
        shares = np.zeros(BINS)
    else:
        rates = np.array([good.p_value(float(edge)) for edge in edges[:-1]] + [0.0])
        shares = rates[:-1] - rates[1:]
    top = max(float(counts.max()), float(shares.max()), 1e-9)
    bars = tuple(
        ScoreBar(
            round(1000 * n / BINS, 1), round(1000 / BINS, 1), round(980 * box / top, 1), round(980 * part / top, 1)
        )
        for n, (box, part) in enumerate(zip(counts.tolist(), shares.tolist(), strict=True))
    )
    return ThresholdScale(round(low, 9), round(high, 9), step, bars)


def is_extrapolated(good: GoodScores, score: float) -> bool:
    """Whether no good image of the workshop scored as high, so that the rate follows from a tail."""
    return score > _highest_sample(good)


def _highest_sample(good: GoodScores) -> float:
    """The highest score of a good image: the last level before the tail, whose rates lie below one in n + 1."""
    lowest = 1 / (good.images + 1)
    return max(
        (level for level, rate in zip(good.levels, good.rates, strict=True) if rate > lowest), default=good.levels[0]
    )
