"""The slope of a line and its interval, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress, t

from vedette.runtime.statistics.trend import fit_trend, student_quantile


def test_the_slope_of_equal_weights_is_scipys() -> None:
    random = np.random.default_rng(0)
    times = np.arange(20) / 4
    values = 0.3 + 0.01 * times + random.normal(0, 0.01, 20)
    expected = linregress(times, values)
    trend = fit_trend(times, values, np.full(20, 50))
    assert trend is not None
    assert trend.slope == pytest.approx(expected.slope)
    reach = t.ppf(0.975, 18) * expected.stderr
    assert trend.interval == pytest.approx((expected.slope - reach, expected.slope + reach), rel=1e-3)


def test_a_heavier_point_draws_the_line() -> None:
    trend = fit_trend([0, 1, 2, 3], [0, 0, 0, 1], [1, 1, 1, 1e6])
    light = fit_trend([0, 1, 2, 3], [0, 0, 0, 1], [1, 1, 1, 1e-6])
    assert trend is not None
    assert light is not None
    assert trend.slope > 0.4
    assert abs(light.slope) < 1e-5


def test_too_few_points_have_no_trend() -> None:
    assert fit_trend([0, 1, 2], [1, 2, 3], [1, 1, 1]) is None
    assert fit_trend([1, 1, 1, 1], [1, 2, 3, 4], [1, 1, 1, 1]) is None


def test_quantiles_are_scipys() -> None:
    for freedom in (2, 3, 4, 8, 30, 1000):
        tolerance = 0.04 if freedom == 2 else 0.01 if freedom == 3 else 0.003
        assert student_quantile(0.975, freedom) == pytest.approx(t.ppf(0.975, freedom), rel=tolerance)
