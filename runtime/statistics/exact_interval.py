"""Exact intervals of a share: Clopper and Pearson, also for trials that come in groups (several looks at one part).

Looks at the same part resemble each other, so that 150 looks at 50 parts say less than looks at 150 parts. Then the
interval is that of fewer, independent trials (Korn and Graubard, "Confidence intervals for proportions with small
expected number of positive counts estimated from survey data", Survey Methodology 24, 1998). How many that are is
estimated from the parts, and is never less than the number of parts nor more than that of the looks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Interval = tuple[float, float]
CONFIDENCE = 0.95


def exact_interval(hits: float, trials: float, confidence: float = CONFIDENCE) -> Interval | None:
    """The two-sided interval of a share, by Clopper and Pearson (1934); None without trials.

    Args:
        hits: number of hits; fractional numbers are rounded so that the interval becomes wider, never narrower
        trials: number of independent trials; rounded down
        confidence: 0…1
    """
    count = int(trials)
    if count < 1:
        return None
    below, above = min(int(np.floor(hits)), count), min(int(np.ceil(hits)), count)
    if below > count / 2:  # the sums are shorter for the share of the others
        low, high = _limits(count - above, count - below, count, confidence)
        return 1 - high, 1 - low
    return _limits(below, above, count, confidence)


def _limits(below: int, above: int, count: int, confidence: float) -> Interval:
    beyond = (1 - confidence) / 2
    low = 0.0 if below == 0 else _find_rate(below - 1, count, 1 - beyond)
    return low, 1.0 if above == count else _find_rate(above, count, beyond)


def _find_rate(at_most: int, count: int, probability: float) -> float:
    """The rate at which at most `at_most` hits in `count` trials have this probability, by bisection."""
    hits = np.arange(at_most + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log(count - hits[:-1]) - np.log(hits[1:]))])
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        rate = (low + high) / 2
        if np.exp(ways + hits * np.log(rate) + (count - hits) * np.log1p(-rate)).sum() > probability:
            low = rate
        else:
            high = rate
    return high


def grouped_interval(hits: ArrayLike, trials: ArrayLike, confidence: float = CONFIDENCE) -> Interval | None:
    """The interval of the share of all hits in all trials, where trials of one group resemble each other.

    Args:
        hits: of each group
        trials: of each group, at least one
        confidence: 0…1

    Returns:
        Lower and upper limit; None without trials.
    """
    hit, size = np.asarray(hits, float), np.asarray(trials, float)
    if not size.sum():
        return None
    share = float(hit.sum() / size.sum())
    effective = _independent_trials(hit, size, share)
    return exact_interval(share * int(effective), effective, confidence)


def _independent_trials(hits: NDArray[Any], sizes: NDArray[Any], share: float) -> float:
    groups, trials = len(sizes), float(sizes.sum())
    if groups < 2 or share in (0.0, 1.0):
        return float(groups)
    variance = groups / (groups - 1) * float(((hits - share * sizes) ** 2).sum()) / trials**2
    return trials if variance == 0 else float(np.clip(share * (1 - share) / variance, groups, trials))
