"""The trend of a figure over time: a straight line by weighted least squares, with an interval of its slope."""

from __future__ import annotations

from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from .exact_interval import CONFIDENCE, Interval

MIN_POINTS = 4


class Trend(msgspec.Struct, frozen=True):
    """A slope."""

    slope: float
    """Change for each unit of time."""
    interval: Interval
    """95 % interval, from the scatter of the points around the line."""

    @property
    def is_shown(self) -> bool:
        """Whether the interval excludes that nothing changes."""
        return not self.interval[0] <= 0 <= self.interval[1]


def fit_trend(times: ArrayLike, values: ArrayLike, weights: ArrayLike, confidence: float = CONFIDENCE) -> Trend | None:
    """The slope of the line through some points; None if there are fewer than MIN_POINTS, or all at one time.

    Args:
        times: N
        values: N
        weights: N, inverse variances up to a factor, such as the parts behind each value
        confidence: of the interval
    """
    when, value, weight = (np.asarray(each, float) for each in (times, values, weights))
    if len(when) < MIN_POINTS:
        return None
    center = float(np.average(when, weights=weight))
    spread = float((weight * (when - center) ** 2).sum())
    if spread == 0:
        return None
    slope = float((weight * (when - center) * value).sum() / spread)
    line = np.average(value, weights=weight) + slope * (when - center)
    freedom = len(when) - 2
    error = float(np.sqrt((weight * (value - line) ** 2).sum() / freedom / spread))
    reach = student_quantile(1 - (1 - confidence) / 2, freedom) * error
    return Trend(slope, (slope - reach, slope + reach))


def student_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's distribution with at least two degrees of freedom.

    By the expansion of Abramowitz and Stegun, "Handbook of mathematical functions", 1964, 26.7.5. At 97.5 % it is
    within 4 % for two degrees, and within 0.3 % from four on.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + float(sum(term / freedom**power for power, term in enumerate(terms, 1)))
