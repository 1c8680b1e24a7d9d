"""p-chart: shares of rejected parts over time, with exact binomial limits and the error that these limits have.

The usual limits of three standard deviations are wrong for the small shares of a line: with 100 parts and 1 % rejects
they signal in 2 % of the samples without any cause. Here the limits are quantiles of the binomial distribution of
each sample, and the probability of a false signal is computed for each of them. It holds if parts are independent and
the share of the reference is the true one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

FALSE_ALARM_RATE = 0.0027  # what the limits aim at for each sample: that of three standard deviations, normal
_NEGLIGIBLE = 1e-15


class ChartPoint(msgspec.Struct, frozen=True):
    """A sample."""

    parts: int
    hits: int
    share: float
    low: float
    """Lowest share that is no signal."""
    high: float
    """Highest share that is no signal."""
    signal: bool


class ProportionChart(msgspec.Struct, frozen=True):
    """The chart."""

    center: float
    points: tuple[ChartPoint, ...]
    false_alarm_rate: float
    """Probability of a signal in a sample without any cause, on average over the samples."""
    in_control_run_length: float | None
    """Samples until a false signal, on average; null: there can be none."""
    any_false_alarm: float
    """Probability of at least one false signal in these samples."""
    dispersion: float | None
    """Variance of the shares between the samples, by that of chance; null: fewer than two samples."""


def binomial_probabilities(trials: int, rate: float) -> NDArray[np.float64]:
    """The probabilities of 0 … `trials` hits."""
    if rate <= 0 or rate >= 1:
        return np.asarray(np.eye(trials + 1)[trials if rate >= 1 else 0])
    hits = np.arange(1, trials + 1)
    steps = np.log(trials - hits + 1) - np.log(hits) + np.log(rate) - np.log1p(-rate)
    return np.asarray(np.exp(trials * np.log1p(-rate) + np.concatenate([[0.0], np.cumsum(steps)])))


def draw_proportion_chart(
    hits: Sequence[int], parts: Sequence[int], center: float, false_alarm_rate: float = FALSE_ALARM_RATE
) -> ProportionChart:
    """The chart of some samples.

    Args:
        hits: rejected parts of each sample
        parts: parts of each sample, at least one
        center: the share of the reference
        false_alarm_rate: that the limits may have at most, in each sample
    """
    points, errors = [], []
    for hit, size in zip(hits, parts, strict=True):
        low, high, error = _exact_limits(size, center, false_alarm_rate)
        points.append(ChartPoint(size, hit, hit / size, low / size, high / size, not low <= hit <= high))
        errors.append(error)
    mean = float(np.mean(errors)) if errors else 0.0
    return ProportionChart(
        center=center,
        points=tuple(points),
        false_alarm_rate=mean,
        in_control_run_length=1 / mean if mean > _NEGLIGIBLE else None,
        any_false_alarm=float(1 - np.prod(1 - np.array(errors))),
        dispersion=measure_dispersion(hits, parts, center),
    )


def _exact_limits(size: int, rate: float, false_alarm_rate: float) -> tuple[int, int, float]:
    """Lowest and highest number without a signal, and the probability of a signal."""
    probabilities = binomial_probabilities(size, rate)
    below, above = np.cumsum(probabilities), np.cumsum(probabilities[::-1])[::-1]
    side = false_alarm_rate / 2
    low = int((below <= side).sum())  # P(X < low) <= side
    high = int((above > side).sum()) - 1  # P(X > high) <= side
    error = float(probabilities[:low].sum() + probabilities[high + 1 :].sum())
    return low, high, error


def measure_dispersion(hits: Sequence[int], parts: Sequence[int], rate: float) -> float | None:
    """Pearson's chi-squared of the samples, by their number: about 1 if only chance varies them."""
    if len(parts) < 2 or not 0 < rate < 1:  # a variance needs two
        return None
    size, number = np.array(parts, float), np.array(hits, float)
    return float(((number - size * rate) ** 2 / (size * rate * (1 - rate))).mean())
