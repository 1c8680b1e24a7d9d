"""Control charts: their stated errors against published values, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from vedette.runtime.statistics.ewma_chart import (
    LIMIT,
    SMOOTHING,
    draw_ewma_chart,
    normal_increments,
    run_length,
    share_increments,
    signal_probability,
)
from vedette.runtime.statistics.proportion_chart import (
    FALSE_ALARM_RATE,
    binomial_probabilities,
    draw_proportion_chart,
)


@pytest.mark.parametrize(
    ("smoothing", "limit", "length"),
    [(0.40, 3.054, 500), (0.25, 2.998, 500), (0.20, 2.962, 500), (0.10, 2.814, 500), (0.05, 2.615, 500)],
)
def test_run_lengths_of_normal_values_are_the_published_ones(smoothing: float, limit: float, length: float) -> None:
    """Lucas and Saccucci, "Exponentially weighted moving average control schemes", Technometrics 32, 1990, table 3."""
    bound = limit * np.sqrt(smoothing / (2 - smoothing))
    assert run_length(normal_increments(), smoothing, bound) == pytest.approx(length, rel=0.02)


def test_the_default_ewma_has_the_run_length_of_three_standard_deviations() -> None:
    bound = LIMIT * np.sqrt(SMOOTHING / (2 - SMOOTHING))
    assert run_length(normal_increments(), SMOOTHING, bound) == pytest.approx(370, rel=0.02)


def test_the_stated_error_of_an_ewma_of_shares_is_that_of_a_simulation() -> None:
    random, size, rate, samples, tries = np.random.default_rng(0), 150, 0.02, 32, 20_000
    increments = share_increments(size, rate)
    bound = LIMIT * np.sqrt(SMOOTHING / (2 - SMOOTHING))
    stated = signal_probability([increments] * samples, SMOOTHING, bound)
    deviations = (random.binomial(size, rate, (samples, tries)) - size * rate) / np.sqrt(size * rate * (1 - rate))
    average, signaled = np.zeros(tries), np.zeros(tries, bool)
    for each in deviations:
        average = SMOOTHING * each + (1 - SMOOTHING) * average
        signaled |= np.abs(average) > bound
    assert stated == pytest.approx(signaled.mean(), abs=0.006)
    assert stated > 0.05  # the table for normal values would promise 8 %; shares are skewed


@given(st.integers(1, 400), st.floats(0.001, 0.999))
@settings(max_examples=50)
def test_binomial_probabilities_are_scipys(trials: int, rate: float) -> None:
    expected = binom.pmf(np.arange(trials + 1), trials, rate)
    assert binomial_probabilities(trials, rate) == pytest.approx(expected, abs=1e-10)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=10), st.floats(0.001, 0.5))
@settings(max_examples=50)
def test_limits_of_the_p_chart_keep_their_error(parts: list[int], rate: float) -> None:
    chart = draw_proportion_chart([0] * len(parts), parts, rate)
    for point, size in zip(chart.points, parts, strict=True):
        low, high = round(point.low * size), round(point.high * size)
        below, above = binom.cdf(low - 1, size, rate), binom.sf(high, size, rate)
        assert below <= FALSE_ALARM_RATE / 2 + 1e-12
        assert above <= FALSE_ALARM_RATE / 2 + 1e-12
        assert binom.cdf(low, size, rate) > FALSE_ALARM_RATE / 2 - 1e-12, "the limits are no wider than needed"
        assert binom.sf(high - 1, size, rate) > FALSE_ALARM_RATE / 2 - 1e-12
    assert chart.false_alarm_rate <= FALSE_ALARM_RATE + 1e-12
    assert 0 <= chart.any_false_alarm <= 1


def test_the_p_chart_signals_more_rejects_than_chance_makes() -> None:
    chart = draw_proportion_chart([2, 1, 14, 3], [150, 140, 150, 20], 0.02)
    assert [each.signal for each in chart.points] == [False, False, True, False]
    assert chart.in_control_run_length == pytest.approx(1 / chart.false_alarm_rate)
    assert chart.dispersion is not None
    assert chart.dispersion > 2


def test_a_small_change_that_lasts_is_found_by_the_ewma_first() -> None:
    random = np.random.default_rng(3)
    hits = [*random.binomial(200, 0.02, 10), *random.binomial(200, 0.045, 12)]
    deviations = (np.array(hits) - 4) / np.sqrt(4 * 0.98)
    increments = share_increments(200, 0.02)
    chart = draw_ewma_chart(deviations, [increments] * len(hits), increments)
    assert not any(chart.signals[:10])
    assert any(chart.signals[10:])
    assert sum(chart.signals) > sum(each.signal for each in draw_proportion_chart(hits, [200] * 22, 0.02).points)


def test_without_rejects_and_without_samples() -> None:
    chart = draw_proportion_chart([0, 0], [10, 10], 0.0)
    assert not any(each.signal for each in chart.points)
    assert chart.in_control_run_length is None
    assert draw_proportion_chart([], [], 0.1).any_false_alarm == 0
