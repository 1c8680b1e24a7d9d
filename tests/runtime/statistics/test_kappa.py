"""Kappas against published examples, and exact intervals against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from vedette.runtime.statistics.exact_interval import exact_interval, grouped_interval
from vedette.runtime.statistics.kappa import cohen_kappa, fleiss_kappa


def test_cohens_kappa_and_its_interval_of_a_published_example() -> None:
    """SAS/STAT user's guide, PROC FREQ, example `SkinCondition`: kappa 0.3449, ASE 0.0724, 0.2030 … 0.4868."""
    counts = np.array([[10, 4, 1, 0], [5, 10, 12, 2], [2, 4, 12, 5], [0, 2, 6, 13]])
    cells = np.eye(16).reshape(16, 4, 4)
    kappa = cohen_kappa(np.repeat(cells, counts.ravel(), axis=0))
    assert kappa.value == pytest.approx(0.3449, abs=5e-5)
    assert kappa.standard_error == pytest.approx(0.0724, abs=5e-5)
    assert kappa.interval == pytest.approx((0.2030, 0.4868), abs=5e-5)


def test_fleiss_kappa_of_a_published_example() -> None:
    """14 raters, 10 subjects, 5 categories: kappa 0.210 (the data of the MATLAB function `fleiss`)."""
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    kappa = fleiss_kappa(counts)
    assert kappa.value == pytest.approx(0.210, abs=5e-4)
    assert kappa.observed == pytest.approx(0.378, abs=5e-4)
    assert kappa.expected == pytest.approx(0.213, abs=5e-4)


def test_the_standard_error_of_fleiss_kappa_covers() -> None:
    """Nominal 95 % intervals of 60 parts: at least 92 % of 400 hold the truth."""
    random = np.random.default_rng(0)
    good, looks = 0.7, 3
    right = 0.9
    accept = np.array([1 - right, right])  # of a bad part, of a good part
    marginal = (1 - good) * accept[0] + good * accept[1]
    agree = (1 - good) * (accept[0] ** 2 + right**2) + good * (right**2 + (1 - right) ** 2)
    chance = marginal**2 + (1 - marginal) ** 2
    truth = (agree - chance) / (1 - chance)
    held = 0
    for _ in range(400):
        accepted = random.binomial(looks, accept[(random.random(60) < good).astype(int)])
        interval = fleiss_kappa(np.stack([looks - accepted, accepted], axis=1)).interval
        held += interval is not None and interval[0] <= truth <= interval[1]
    assert held >= 368


def test_repeated_looks_do_not_narrow_the_interval() -> None:
    """Looks that always say the same are one look: the interval of kappa stays that of the parts."""
    random = np.random.default_rng(1)
    pairs = random.integers(0, 2, (40, 2))
    one = np.stack([np.eye(4)[2 * first + second].reshape(2, 2) for first, second in pairs])
    assert cohen_kappa(one).interval == pytest.approx(cohen_kappa(5 * one).interval)


@given(st.integers(1, 400), st.data())
def test_exact_intervals_are_those_of_the_beta_distribution(trials: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials))
    interval = exact_interval(hits, trials)
    low = 0.0 if hits == 0 else beta.ppf(0.025, hits, trials - hits + 1)
    high = 1.0 if hits == trials else beta.ppf(0.975, hits + 1, trials - hits)
    assert interval == pytest.approx((low, high), abs=1e-8)


def test_exact_intervals_of_many_parts_are_fast_and_cover() -> None:
    interval = exact_interval(50_000, 100_000)
    assert interval is not None
    assert binom.cdf(50_000, 100_000, interval[1]) == pytest.approx(0.025, rel=1e-4)
    assert exact_interval(0, 0) is None


def test_grouped_trials_say_less_than_independent_ones_and_no_less_than_their_groups() -> None:
    spread = grouped_interval([1] * 6 + [0] * 42, [1] * 48)
    assert spread == exact_interval(6, 48)
    clustered = grouped_interval([3, 3] + [0] * 14, [3] * 16)
    independent, parts = exact_interval(6, 48), exact_interval(2, 16)
    assert clustered is not None
    assert independent is not None
    assert clustered[1] - clustered[0] > independent[1] - independent[0]
    assert clustered == pytest.approx(parts, abs=0.02)
    assert grouped_interval([0] * 16, [3] * 16) == exact_interval(0, 16)
