"""The guarantee of a conformal threshold holds over many samples of known distributions, and claims no more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

from vedette.compress.evaluation import conformal_threshold, extreme_value_tail

SAMPLES = 200
MAX_MISSES = stats.binom.ppf(0.9999, SAMPLES, conformal_threshold.RISK)  # of 200 samples, at a true risk of 0.05

TRUTHS = {
    "normal": stats.norm(),
    "lognormal": stats.lognorm(1.0),
    "t5": stats.t(5),
    "uniform": stats.uniform(),
    "exponential": stats.expon(),
}


@pytest.mark.parametrize(("name", "step"), [*((name, 0.001) for name in TRUTHS), ("normal", 0.25)])
def test_bound_is_exceeded_no_more_often_than_the_risk(name, step):
    """Also with ties: the threshold lies half a step above a score, so that rounded scores change nothing."""
    truth, rng = TRUTHS[name], np.random.default_rng(1)
    miss_rates = []
    for images in (20, 60, 150, 400):
        for target_rate in (0.05, 0.01, 0.001):
            count, shares, expected_rate = 0, [], 0.0
            for _ in range(SAMPLES):
                scores = step * np.round(truth.rvs(images, random_state=rng) / step)
                threshold = conformal_threshold.choose_threshold(scores, step, target_rate)
                shares.append(truth.sf(threshold.score))
                count += shares[-1] > threshold.rate_bound
                expected_rate = threshold.expected_rate
                assert threshold.rate_interval[0] <= threshold.rate_interval[1] <= threshold.rate_bound
                assert threshold.target_proven == (images >= threshold.required_images)
            assert count <= MAX_MISSES, (images, target_rate)
            assert np.mean(shares) <= expected_rate + 4 * np.std(shares) / np.sqrt(SAMPLES)
            miss_rates.append(count / SAMPLES)
    assert np.mean(miss_rates) <= conformal_threshold.RISK + 0.01


def draw_shifted_groups(rng, truth, groups, size, share):
    """Scores of groups with different means, groups x size; `share` of the variance is between groups."""
    spread = truth.std()
    alone = truth.rvs((groups, size), random_state=rng)
    return np.sqrt(share) * spread * rng.normal(size=(groups, 1)) + np.sqrt(1 - share) * alone


def draw_scaled_groups(rng, truth, groups, size, share):
    """Scores of groups with different spreads, groups x size."""
    return truth.rvs((groups, size), random_state=rng) * np.exp(share * rng.normal(size=(groups, 1)))


@pytest.mark.parametrize("draw_groups", [draw_shifted_groups, draw_scaled_groups])
@pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS)
def test_bound_holds_for_new_groups(truth, draw_groups):
    """New parts come from new groups of the same distribution; the groups have one size or two."""
    rng = np.random.default_rng(2)
    for share in (0.0, 0.3):
        unseen = np.sort(draw_groups(rng, truth, 100_000, 1, share).ravel())
        for groups, size in ((2, 30), (4, 15), (6, 25), (20, 5), (40, 10)):
            names = np.repeat([f"shift {number}" for number in range(groups)], size)
            count = 0
            for sample in range(SAMPLES):
                lasting = np.arange(groups * size) >= sample % 2 * size // 2
                scores = np.round(draw_groups(rng, truth, groups, size, share).ravel()[lasting], 2)
                threshold = conformal_threshold.choose_threshold(scores, 0.01, 0.05, list(names[lasting]))
                count += 1 - np.searchsorted(unseen, threshold.score) / len(unseen) > threshold.rate_bound
                assert 1 <= threshold.effective_sample_size <= threshold.images
            assert count <= conformal_threshold.RISK * SAMPLES, (share, groups, size)


def test_groups_that_differ_reduce_the_effective_sample_size():
    rng = np.random.default_rng(3)
    names = [str(number // 10) for number in range(400)]

    def choose(share):
        return conformal_threshold.choose_threshold(
            draw_shifted_groups(rng, stats.norm(), 40, 10, share).ravel(), 0.001, 0.05, names
        )

    alike, different = choose(0.0), choose(0.8)
    assert alike.effective_sample_size > 150
    assert alike.target_proven
    assert different.effective_sample_size < 80
    assert different.rate_bound > alike.rate_bound


def test_too_few_groups_are_stated_and_do_not_move_the_threshold():
    scores = np.random.default_rng(4).normal(size=120).round(2)
    alone = conformal_threshold.choose_threshold(scores, 0.01, 0.05)
    grouped = conformal_threshold.choose_threshold(
        scores, 0.01, 0.05, [f"module {number // 30}" for number in range(120)]
    )
    assert grouped.score == alone.score
    assert alone.target_proven
    assert not grouped.target_proven
    assert grouped.groups == 4
    assert grouped.rate_bound > 0.05
    assert "4 groups are too few" in grouped.statement
    assert "too" not in alone.statement


@pytest.mark.parametrize("scores", [np.arange(30.0), np.repeat(np.arange(3.0), 10), np.zeros(30)])
def test_one_group_counts_as_one_image(scores):
    threshold = conformal_threshold.choose_threshold(scores, 1.0, 0.05, ["a"] * 30)
    assert threshold.effective_sample_size == 1
    assert threshold.rate_bound == pytest.approx(1 - conformal_threshold.RISK / 2)


def test_copies_count_once_and_groups_of_one_image_change_nothing():
    scores = np.repeat(np.arange(30.0), 5)
    copies = conformal_threshold.choose_threshold(scores, 1.0, 0.05, [str(score) for score in scores])
    assert copies.effective_sample_size == pytest.approx(30)
    single = conformal_threshold.choose_threshold(scores, 1.0, 0.05, [str(number) for number in range(150)])
    assert single == conformal_threshold.choose_threshold(scores, 1.0, 0.05)


@pytest.mark.parametrize(("target_rate", "required"), [(0.05, 59), (0.01, 299), (0.001, 2995)])
def test_required_images_are_sufficient_and_necessary(target_rate, required):
    scores = np.random.default_rng(5).normal(size=required).round(4)
    threshold = conformal_threshold.choose_threshold(scores, 0.0001, target_rate)
    assert threshold.required_images == required
    assert threshold.method == "conformal"
    assert threshold.rate_bound <= target_rate
    fewer = conformal_threshold.choose_threshold(scores[:-1], 0.0001, target_rate)
    assert fewer.method != "conformal"
    assert f"which takes {required} independent good images" in fewer.statement
    assert fewer.rate_bound > target_rate


def test_threshold_approaches_the_target_with_more_images():
    """The bound approaches the target rate from below, and the statement has both."""
    grid = special.ndtri((np.arange(20_000) + 0.5) / 20_000)
    threshold = conformal_threshold.choose_threshold(grid, 1e-6, 0.01)
    assert 0.008 < threshold.expected_rate < threshold.rate_bound <= 0.01
    assert stats.norm.sf(threshold.score) == pytest.approx(threshold.expected_rate, rel=0.02)
    assert "at most 1 % of good parts" in threshold.statement


def test_small_sample_has_a_weak_bound():
    threshold = conformal_threshold.choose_threshold(np.arange(9.0), 1.0, 0.01)
    assert threshold.expected_rate == pytest.approx(0.1)
    assert threshold.score == 8.5
    assert threshold.method == "above all"
    assert threshold.rate_bound == pytest.approx(1 - 0.05 ** (1 / 9))
    assert "just above all of their scores" in threshold.statement


@given(
    hnp.arrays(np.float64, st.integers(1, 80), elements=st.integers(0, 255).map(float)), st.sampled_from([0.05, 1e-4])
)
def test_unproven_threshold_lies_above_the_sample_and_below_the_maximum(scores, target_rate):
    threshold = conformal_threshold.choose_threshold(scores, 1.0, target_rate, max_score=255.0)
    assert threshold.score % 1 == 0.5
    if not threshold.target_proven:
        assert threshold.score > scores.max()
        assert threshold.score < max(255.0, scores.max() + 1)


@pytest.mark.parametrize("truth", [stats.norm(), stats.expon(), stats.t(5)], ids=["normal", "exponential", "t5"])
def test_extrapolation_is_about_right_for_tails_near_its_model(truth):
    """The interval comes from the tail model, and keeps its risk for distributions near that model."""
    rng = np.random.default_rng(6)
    for images in (60, 150):
        shares, above, below = [], 0, 0
        for _ in range(SAMPLES):
            threshold = conformal_threshold.choose_threshold(
                truth.rvs(images, random_state=rng).round(4), 0.0001, 0.001
            )
            shares.append(truth.sf(threshold.score))
            above += shares[-1] > threshold.rate_interval[1]
            below += shares[-1] < threshold.rate_interval[0]
        assert above <= MAX_MISSES
        assert below <= MAX_MISSES
        assert 0.0003 < np.median(shares) < 0.003


def test_extrapolation_is_stated():
    threshold = conformal_threshold.choose_threshold(
        np.random.default_rng(7).exponential(size=150).round(3), 0.001, 0.001
    )
    assert threshold.method == "extreme value"
    assert "That is an extrapolation" in threshold.statement
    assert threshold.rate_interval[0] < threshold.target_rate < threshold.rate_interval[1] < threshold.rate_bound


def test_equal_scores_have_no_tail():
    assert extreme_value_tail.fit_tail(np.repeat(5.0, 40)) is None
    assert conformal_threshold.choose_threshold(np.repeat(5.0, 40), 1.0, 0.001).method == "above all"
