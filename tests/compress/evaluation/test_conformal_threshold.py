"""What a threshold promises is kept: over many samples whose true distribution is known, and no more is claimed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

from vedette.compress.evaluation import conformal_threshold, extreme_value_tail

SAMPLES = 200
UNLUCKY = stats.binom.ppf(0.9999, SAMPLES, conformal_threshold.RISK)  # of 200 samples, at a true risk of 0.05

TRUTHS = {
    "normal": stats.norm(),
    "lognormal": stats.lognorm(1.0),
    "t5": stats.t(5),
    "uniform": stats.uniform(),
    "exponential": stats.expon(),
}


@pytest.mark.parametrize(("name", "step"), [*((name, 0.001) for name in TRUTHS), ("normal", 0.25)])
def test_the_bound_is_exceeded_no_oftener_than_the_risk(name, step):
    """A line half a step above a score, so that the rounding of scores and their ties change nothing."""
    truth, rng = TRUTHS[name], np.random.default_rng(1)
    exceeded = []
    for images in (20, 60, 150, 400):
        for wished in (0.05, 0.01, 0.001):
            count, shares, promised = 0, [], 0.0
            for _ in range(SAMPLES):
                scores = step * np.round(truth.rvs(images, random_state=rng) / step)
                line = conformal_threshold.choose(scores, step, wished)
                shares.append(truth.sf(line.score))
                count += shares[-1] > line.bound
                promised = line.promised
                assert line.interval[0] <= line.interval[1] <= line.bound
                assert line.kept == (images >= line.enough)
            assert count <= UNLUCKY, (images, wished)
            assert np.mean(shares) <= promised + 4 * np.std(shares) / np.sqrt(SAMPLES)
            exceeded.append(count / SAMPLES)
    assert np.mean(exceeded) <= conformal_threshold.RISK + 0.01


def located(rng, truth, groups, size, share):
    """Scores of groups that shift, groups x size; `share` of the variance is the shift's."""
    spread = truth.std()
    alone = truth.rvs((groups, size), random_state=rng)
    return np.sqrt(share) * spread * rng.normal(size=(groups, 1)) + np.sqrt(1 - share) * alone


def scaled(rng, truth, groups, size, share):
    """Scores of groups whose spread differs."""
    return truth.rvs((groups, size), random_state=rng) * np.exp(share * rng.normal(size=(groups, 1)))


@pytest.mark.parametrize("differ", [located, scaled])
@pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS)
def test_the_bound_holds_for_new_groups(truth, differ):
    """Parts of groups that the sample has not seen, drawn as its groups were; groups of one size and of two."""
    rng = np.random.default_rng(2)
    for share in (0.0, 0.3):
        unseen = np.sort(differ(rng, truth, 100_000, 1, share).ravel())
        for groups, size in ((2, 30), (4, 15), (6, 25), (20, 5), (40, 10)):
            names = np.repeat([f"shift {number}" for number in range(groups)], size)
            count = 0
            for sample in range(SAMPLES):
                lasting = np.arange(groups * size) >= sample % 2 * size // 2
                scores = np.round(differ(rng, truth, groups, size, share).ravel()[lasting], 2)
                line = conformal_threshold.choose(scores, 0.01, 0.05, list(names[lasting]))
                count += 1 - np.searchsorted(unseen, line.score) / len(unseen) > line.bound
                assert 1 <= line.worth <= line.images
            assert count <= conformal_threshold.RISK * SAMPLES, (share, groups, size)


def test_images_of_groups_that_differ_are_worth_fewer():
    rng = np.random.default_rng(3)
    names = [str(number // 10) for number in range(400)]

    def of(share):
        return conformal_threshold.choose(located(rng, stats.norm(), 40, 10, share).ravel(), 0.001, 0.05, names)

    alike, different = of(0.0), of(0.8)
    assert alike.worth > 150
    assert alike.kept
    assert different.worth < 80
    assert different.bound > alike.bound


def test_too_few_groups_are_said_with_their_number_and_do_not_move_the_line():
    scores = np.random.default_rng(4).normal(size=120).round(2)
    alone = conformal_threshold.choose(scores, 0.01, 0.05)
    grouped = conformal_threshold.choose(scores, 0.01, 0.05, [f"module {number // 30}" for number in range(120)])
    assert grouped.score == alone.score
    assert alone.kept
    assert not grouped.kept
    assert grouped.groups == 4
    assert grouped.bound > 0.05
    assert "4 groups are too few" in grouped.statement
    assert "too" not in alone.statement


@pytest.mark.parametrize("scores", [np.arange(30.0), np.repeat(np.arange(3.0), 10), np.zeros(30)])
def test_one_group_is_worth_one_image(scores):
    line = conformal_threshold.choose(scores, 1.0, 0.05, ["a"] * 30)
    assert line.worth == 1
    assert line.bound == pytest.approx(1 - conformal_threshold.RISK / 2)


def test_copies_count_once_and_groups_of_one_are_no_groups():
    scores = np.repeat(np.arange(30.0), 5)
    copies = conformal_threshold.choose(scores, 1.0, 0.05, [str(score) for score in scores])
    assert copies.worth == pytest.approx(30)
    single = conformal_threshold.choose(scores, 1.0, 0.05, [str(number) for number in range(150)])
    assert single == conformal_threshold.choose(scores, 1.0, 0.05)


@pytest.mark.parametrize(("wished", "enough"), [(0.05, 59), (0.01, 299), (0.001, 2995)])
def test_the_images_that_are_enough_are_enough(wished, enough):
    scores = np.random.default_rng(5).normal(size=enough).round(4)
    line = conformal_threshold.choose(scores, 0.0001, wished)
    assert line.enough == enough
    assert line.method == "conformal"
    assert line.bound <= wished
    fewer = conformal_threshold.choose(scores[:-1], 0.0001, wished)
    assert fewer.method != "conformal"
    assert f"it takes {enough} independent good images" in fewer.statement
    assert fewer.bound > wished


def test_more_images_let_the_line_down():
    """It comes near the wish from below, and the report says what was asked and what is vouched for."""
    grid = special.ndtri((np.arange(20_000) + 0.5) / 20_000)
    line = conformal_threshold.choose(grid, 1e-6, 0.01)
    assert 0.008 < line.promised < line.bound <= 0.01
    assert stats.norm.sf(line.score) == pytest.approx(line.promised, rel=0.02)
    assert "at most 1 % of good parts" in line.statement


def test_a_small_sample_promises_no_more_than_it_can():
    line = conformal_threshold.choose(np.arange(9.0), 1.0, 0.01)
    assert line.promised == pytest.approx(0.1)
    assert line.score == 8.5
    assert line.method == "above all"
    assert line.bound == pytest.approx(1 - 0.05 ** (1 / 9))
    assert "just above all of them" in line.statement


@given(
    hnp.arrays(np.float64, st.integers(1, 80), elements=st.integers(0, 255).map(float)), st.sampled_from([0.05, 1e-4])
)
def test_a_line_that_the_sample_cannot_vouch_for_lies_above_it_and_within_reach(scores, wished):
    line = conformal_threshold.choose(scores, 1.0, wished, highest=255.0)
    assert line.score % 1 == 0.5
    if not line.kept:
        assert line.score > scores.max()
        assert line.score < max(255.0, scores.max() + 1)


@pytest.mark.parametrize("truth", [stats.norm(), stats.expon(), stats.t(5)], ids=["normal", "exponential", "t5"])
def test_an_extrapolation_is_about_right_where_its_model_is(truth):
    """The interval is a model's, and held to its risk for tails that are near to it."""
    rng = np.random.default_rng(6)
    for images in (60, 150):
        shares, above, below = [], 0, 0
        for _ in range(SAMPLES):
            line = conformal_threshold.choose(truth.rvs(images, random_state=rng).round(4), 0.0001, 0.001)
            shares.append(truth.sf(line.score))
            above += shares[-1] > line.interval[1]
            below += shares[-1] < line.interval[0]
        assert above <= UNLUCKY
        assert below <= UNLUCKY
        assert 0.0003 < np.median(shares) < 0.003


def test_an_extrapolation_calls_itself_one():
    line = conformal_threshold.choose(np.random.default_rng(7).exponential(size=150).round(3), 0.001, 0.001)
    assert line.method == "extreme value"
    assert "That is an extrapolation" in line.statement
    assert line.interval[0] < line.wished < line.interval[1] < line.bound


def test_a_tail_of_equal_scores_is_none():
    assert extreme_value_tail.fit(np.repeat(5.0, 40)) is None
    assert conformal_threshold.choose(np.repeat(5.0, 40), 1.0, 0.001).method == "above all"
