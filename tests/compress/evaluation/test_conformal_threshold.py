"""The guarantee of a conformal threshold holds over many samples of known distributions, and claims no more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

from vedette.compress.evaluation import conformal_threshold
from vedette.runtime.calibration import extreme_value_tail

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
@pytest.mark.parametrize(
    "truth",
    [pytest.param(truth, marks=[pytest.mark.slow] * (name not in ("normal", "t5"))) for name, truth in TRUTHS.items()],
    ids=TRUTHS,
)
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


def proven_threshold(**changes):
    """A threshold of 80 images that meets its goal, with `changes`."""
    facts = {
        "score": 2.5,
        "target_rate": 0.05,
        "expected_rate": 0.0125,
        "rate_bound": 0.05,
        "risk": 0.1,
        "rate_interval": (0.0008, 0.012),
        "images": 80,
        "groups": 80,
        "effective_sample_size": 80.0,
        "required_images": 59,
        "method": "conformal",
    }
    return conformal_threshold.AnomalyThreshold(**facts | changes)


def test_statement_of_a_proven_threshold_has_the_goal_the_bound_and_the_expectation():
    threshold = proven_threshold()
    assert threshold.target_proven, "a bound at the goal meets it"
    assert threshold.statement == (
        "The threshold was set with 80 good images that nothing else had used. The goal is that at most 5 % of good "
        "parts raise an alarm. As long as new parts are like these, at most 5 % of good parts raise an alarm with 90 % "
        "confidence, and 1.25 % on average."
    )


def test_statement_of_groups_names_their_worth_and_the_share_that_was_not_seen():
    threshold = proven_threshold(groups=2, effective_sample_size=60.04)
    assert threshold.statement == (
        "The threshold was set with 80 good images in 2 groups that nothing else had used. The goal is that at most "
        "5 % of good parts raise an alarm. Images of one group resemble each other: for parts of new groups they count "
        "as 60.0 independent ones. As long as new groups differ as these do, at most 5 % of good parts raise an alarm "
        "with 90 % confidence, and 1.25 % on average. A kind of group that was not seen may still be up to 68.4 % of "
        "all groups."
    )


def test_statement_of_one_group_is_in_the_singular():
    threshold = proven_threshold(groups=1, effective_sample_size=1.0, rate_bound=0.9, method="above all")
    assert not threshold.target_proven
    assert " in 1 group that " in threshold.statement
    assert threshold.statement.endswith(
        "The threshold lies just above all of their scores. The sample is too small for the goal, which takes 59 "
        "independent good images. 1 group is too few; the threshold lies where it would lie for independent images. "
        "A kind of group that was not seen may still be up to 90 % of all groups."
    )


def test_statement_of_an_extrapolation_has_its_interval():
    threshold = proven_threshold(rate_bound=0.2, method="extreme value")
    assert threshold.statement.endswith(
        "fitted to the highest quarter of the scores, reaches the goal. That is an extrapolation: only by this model "
        "is the rate 0.08 % to 1.2 %. The sample is too small for the goal, which takes 59 independent good images."
    )


def test_statement_of_images_without_groups_mentions_none():
    threshold = conformal_threshold.choose_threshold(np.arange(400.0), 1.0, 0.05)
    assert threshold.groups == threshold.images == 400
    assert "group" not in threshold.statement


@pytest.mark.parametrize("images", [59, 93, 400])
def test_bounds_are_those_of_a_binomial_count(images):
    """As many scores lie above the threshold as the target rate allows, and the interval is that of their number."""
    scores = 0.5 * np.random.default_rng(8).permutation(images)
    threshold = conformal_threshold.choose_threshold(scores, 0.5, 0.05)
    above = int((scores > threshold.score).sum())
    assert threshold.score == scores.max() - 0.5 * above + 0.25
    low, high = threshold.rate_interval
    assert high == threshold.rate_bound <= 0.05
    assert stats.binom.cdf(above, images, high) == pytest.approx(0.05)
    assert stats.binom.cdf(above, images, low) == pytest.approx(0.95)
    assert stats.binom.cdf(above + 1, images, 0.05) > 0.05, "one more would exceed the target rate"
    assert threshold.expected_rate == pytest.approx((above + 1) / (images + 1))


def analyse_variance(scores, names):
    """Ratio of the mean squares between and within groups, and the sizes of the groups."""
    upper = np.maximum(stats.norm.ppf(stats.rankdata(scores) / (len(scores) + 1)), 0)
    members = [upper[np.array(names) == name] for name in dict.fromkeys(names)]
    return stats.f_oneway(*members).statistic, np.array([len(each) for each in members])


@pytest.mark.parametrize("sizes", [[5] * 8, [6] * 7, [2, 3, 4, 5, 6, 7, 8, 9], [40, 1, 2]])
def test_correlation_within_groups_is_an_upper_confidence_limit(sizes):
    """With that correlation, so small a ratio of the mean squares has a probability of half the risk."""
    rng = np.random.default_rng(9)
    names = np.repeat(np.arange(len(sizes)), sizes)
    images = len(names)
    scores = (rng.normal(size=images) + 1.5 * rng.normal(size=len(sizes))[names]).round(1)
    threshold = conformal_threshold.choose_threshold(scores, 0.1, 0.05, [f"day {name}" for name in names])
    ratio, sizes_found = analyse_variance(scores, names)
    assert list(sizes_found) == sizes
    mates = (sizes_found**2).sum() / images
    correlation = (images / threshold.effective_sample_size - 1) / (mates - 1)
    assert 0 < correlation < 1
    inflation = 1 + (images - mates) / (len(sizes) - 1) * correlation / (1 - correlation)
    assert stats.f.cdf(ratio / inflation, len(sizes) - 1, images - len(sizes)) == pytest.approx(0.025)
    assert threshold.required_images == 72, "the bound has the other half of the risk"


def test_groups_that_do_not_differ_lose_no_image():
    names = [str(number % 20) for number in range(400)]
    threshold = conformal_threshold.choose_threshold(np.arange(400.0), 1.0, 0.05, names)
    assert threshold.effective_sample_size == 400
    assert threshold.groups == 20
    assert stats.binom.cdf((np.arange(400.0) > threshold.score).sum(), 400, threshold.rate_bound) == pytest.approx(
        0.025
    )


def test_bound_of_groups_is_that_of_so_many_independent_images():
    """The scores above the threshold count in the same proportion as the images."""
    rng = np.random.default_rng(13)
    names = [str(number // 10) for number in range(600)]
    scores = draw_shifted_groups(rng, stats.norm(), 60, 10, 0.1).ravel().round(3)
    threshold = conformal_threshold.choose_threshold(scores, 0.001, 0.05, names)
    worth = threshold.effective_sample_size
    above = (scores > threshold.score).sum() * worth / 600
    assert worth < 600
    assert above % 1 > 0.1
    assert threshold.expected_rate == pytest.approx((above + 1) / (worth + 1))
    assert stats.beta.cdf(threshold.rate_bound, above + 1, worth - above) == pytest.approx(0.975)
    assert stats.beta.cdf(threshold.rate_interval[0], above + 1, worth - above) == pytest.approx(0.025)


def test_target_rate_equal_to_the_bound_is_met():
    bound = conformal_threshold.choose_threshold(np.arange(9.0), 1.0, 0.01).rate_bound
    threshold = conformal_threshold.choose_threshold(np.arange(9.0), 1.0, bound)
    assert threshold.method == "conformal"
    assert threshold.target_proven


def test_equal_scores_are_worth_one_image_for_each_group():
    names = np.repeat(["a", "b", "c"], [5, 10, 15])
    assert conformal_threshold.choose_threshold(np.zeros(30), 1.0, 0.05, list(names)).effective_sample_size == 3


@pytest.mark.parametrize("sizes", [list(range(1, 13)), [1, 2, 4, 1, 2, 4], [1, 4, 4, 1]])
def test_copies_in_unequal_groups_are_worth_fewer_images_than_groups(sizes):
    scores = np.repeat(np.arange(float(len(sizes))), sizes)
    threshold = conformal_threshold.choose_threshold(scores, 1.0, 0.05, list(scores))
    assert threshold.effective_sample_size == pytest.approx(sum(sizes) ** 2 / sum(size**2 for size in sizes))


@pytest.mark.parametrize(("images", "method"), [(29, "above all"), (30, "extreme value")])
def test_thirty_scores_are_enough_for_a_tail(images, method):
    scores = np.random.default_rng(10).exponential(size=images).round(3)
    assert conformal_threshold.choose_threshold(scores, 0.001, 0.001).method == method


@pytest.mark.parametrize("step", [0.001, 0.25])
def test_extrapolated_threshold_is_the_quantile_of_the_tail(step):
    scores = step * np.round(np.random.default_rng(11).exponential(size=150) / step)
    threshold = conformal_threshold.choose_threshold(scores, step, 0.001)
    quantile = extreme_value_tail.fit_tail(scores).quantile(0.001)
    assert threshold.score > scores.max() + step
    assert 0 <= quantile - (threshold.score - step / 2) < step
    assert threshold.score / step % 1 == pytest.approx(0.5)


@pytest.mark.parametrize("step", [0.05, 0.125, 0.25, 0.7])
def test_extrapolated_threshold_lies_below_the_highest_possible_score(step):
    scores = step * np.round(np.random.default_rng(11).exponential(size=150) / step)
    maximum = scores.max() + 2 * step
    threshold = conformal_threshold.choose_threshold(scores, step, 0.001, max_score=maximum)
    assert threshold.method == "extreme value"
    assert threshold.score == pytest.approx(maximum - step / 2)


def test_extrapolation_to_the_highest_score_of_the_sample_is_none():
    scores = np.round(4 * np.random.default_rng(11).exponential(size=150)) / 4
    threshold = conformal_threshold.choose_threshold(scores, 0.25, 0.001, max_score=scores.max() + 0.25)
    assert threshold.method == "above all"
    assert threshold.score == scores.max() + 0.125


def test_grouped_images_make_the_extrapolation_less_certain():
    """The interval of the tail is that of so many independent exceedances, and never above the bound."""
    rng = np.random.default_rng(12)
    scores = (rng.exponential(size=(30, 5)) + 0.3 * rng.exponential(size=(30, 1))).ravel().round(3)
    names = [str(number // 5) for number in range(150)]
    alone = conformal_threshold.choose_threshold(scores, 0.001, 0.001)
    grouped = conformal_threshold.choose_threshold(scores, 0.001, 0.001, names)
    assert grouped.method == alone.method == "extreme value"
    assert grouped.score == alone.score
    tail = extreme_value_tail.fit_tail(scores)
    for threshold in (alone, grouped):
        share = threshold.effective_sample_size / 150
        expected = tail.rate_interval(tail.quantile(0.001), share, conformal_threshold.RISK)
        assert threshold.rate_interval == pytest.approx(expected)
    assert grouped.rate_interval[1] > alone.rate_interval[1]
