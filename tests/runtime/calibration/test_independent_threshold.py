"""The threshold that a device chooses is the one that a build would choose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vedette.compress.evaluation import conformal_threshold
from vedette.runtime.calibration import independent_threshold


@given(
    scores=st.lists(st.integers(0, 255), min_size=2, max_size=120),
    rate=st.sampled_from([0.3, 0.1, 0.05, 0.01]),
    highest=st.sampled_from([255.0, 1e6]),
)
def test_threshold_is_that_of_a_build(scores, rate, highest):
    values = 0.5 * np.array(scores, float)
    there = independent_threshold.choose_threshold(values, 0.5, rate, highest)
    here = conformal_threshold.choose_threshold(values, 0.5, rate, max_score=highest)
    assert (there.score, there.method, there.required_images) == (here.score, here.method, here.required_images)
    assert there.rate_bound == pytest.approx(here.rate_bound, abs=1e-9)
    assert there.expected_rate == pytest.approx(here.expected_rate)


def test_risk_is_that_of_a_build():
    assert independent_threshold.RISK == conformal_threshold.RISK


@pytest.mark.parametrize(("above", "count"), [(0, 1), (0, 20), (3, 20), (19, 20), (10, 400), (399, 400)])
def test_bound_is_exact(above, count):
    expected = stats.binomtest(above, count).proportion_ci(0.9, "exact").high
    assert independent_threshold.exceedance_bound(above, count, 0.95) == pytest.approx(expected, abs=1e-9)


def test_bound_of_all_exceeding_is_one():
    assert independent_threshold.exceedance_bound(20, 20, 0.95) == 1.0


@pytest.mark.parametrize("rate", [0.01, 0.5, 0.99])
def test_binomial_probability_is_exact(rate):
    expected = stats.binom.cdf(7, 50, rate)
    assert independent_threshold.binomial_probability(7, 50, rate) == pytest.approx(expected, rel=1e-9)
