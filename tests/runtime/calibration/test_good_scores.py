"""p-values of scores: conformal within the sample, extrapolated beyond, and true for new good parts."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy import stats

from vedette.compress.evaluation import conformal_threshold
from vedette.runtime.calibration import good_scores
from vedette.runtime.calibration.good_scores import GoodScores


def test_p_value_within_the_sample_is_conformal():
    scores = np.arange(1.0, 41.0)
    calibration = good_scores.summarize(scores, 1.0, 255.0)
    for score in (2.0, 20.0, 39.0, 40.0):
        expected = (np.sum(scores >= score) + 1) / (len(scores) + 1)
        assert calibration.p_value(score) == pytest.approx(expected, rel=1e-3)
    assert calibration.p_value(0.0) == calibration.p_value(1.0) == 1.0


def test_p_values_fall_with_the_score_and_never_reach_zero():
    scores = np.round(np.random.default_rng(0).normal(100, 10, 200))
    calibration = good_scores.summarize(scores, 1.0, 255.0)
    values = [calibration.p_value(score) for score in np.arange(0.0, 300.0)]
    assert np.all(np.diff(values) <= 0)
    assert min(values) >= good_scores.MIN_P_VALUE
    assert calibration.p_value(160.0) < 1 / 1000


def test_many_scores_are_summarized_by_few_levels():
    scores = np.arange(2000.0)
    calibration = good_scores.summarize(scores, 1.0, 4000.0)
    assert len(calibration.levels) <= good_scores.MAX_LEVELS + good_scores.TAIL_LEVELS
    for score in (500.0, 1500.0, 1900.0, 1990.0):
        expected = (np.sum(scores >= score) + 1) / 2001
        assert calibration.p_value(score) == pytest.approx(expected, rel=0.1)


def test_few_scores_prove_no_rarity():
    """Also without spread in the upper quarter, where no tail can be fitted."""
    assert good_scores.summarize(np.arange(9.0), 1.0, 255.0).p_value(250.0) == pytest.approx(0.1)
    assert good_scores.summarize(np.repeat(5.0, 40), 1.0, 255.0).p_value(250.0) == pytest.approx(1 / 41, rel=1e-3)


@pytest.mark.parametrize(
    "truth", [stats.norm(10, 1), stats.expon(5, 1), stats.t(5, 10, 1)], ids=lambda each: each.dist.name
)
@pytest.mark.parametrize("count", [20, 60, 150])
def test_p_values_of_new_good_parts_are_true(truth, count):
    """The mean rate of p-values of at most a is at most a; far below what the sample shows, at most three times a."""
    rng, step = np.random.default_rng(3), 0.05
    grid = step * np.arange(round(truth.ppf(1e-4) / step), round(truth.ppf(1 - 1e-7) / step))
    shares = {0.2: [], 0.1: [], 0.002: []}
    for _ in range(60):
        scores = step * np.round(truth.rvs(count, random_state=rng) / step)
        calibration = good_scores.summarize(scores, step, float(max(grid[-1], scores.max())))
        values = np.array([calibration.p_value(score) for score in grid])
        for level, found in shares.items():
            reached = values <= level
            found.append(truth.sf(grid[np.argmax(reached)] - step / 2) if reached.any() else 0.0)
    for level, found in shares.items():
        slack = 3.0 if level < 1 / count else 1.0
        assert np.mean(found) <= slack * level + 3 * np.std(found) / np.sqrt(len(found))


def test_threshold_has_the_expected_rate_as_p_value():
    """Also for groups: both count images of one group as fewer independent ones."""
    rng = np.random.default_rng(2)
    scores = np.round(rng.normal(50, 3, (20, 1)) + rng.normal(0, 3, (20, 10)))
    names = [group for group in range(20) for _ in range(10)]
    threshold = conformal_threshold.choose_threshold(scores.ravel(), 1.0, 0.2, names)
    assert threshold.method == "conformal"
    weight = threshold.effective_sample_size / threshold.images
    assert weight < 0.5
    calibration = good_scores.summarize(scores.ravel(), 1.0, 255.0, weight)
    above = np.sum(scores >= threshold.score)
    expected = (above * weight + 1) / (scores.size * weight + 1)
    assert calibration.p_value(threshold.score + 0.5) == pytest.approx(expected, rel=0.05)
    assert expected <= threshold.expected_rate


def test_shift_moves_all_scores():
    calibration = good_scores.summarize(np.arange(50.0), 1.0, 255.0)
    moved = calibration.shift(7.0)
    assert moved.median == calibration.median - 7
    assert [moved.p_value(score - 7) for score in (10.0, 45.0, 90.0)] == pytest.approx(
        [calibration.p_value(score) for score in (10.0, 45.0, 90.0)]
    )


def test_json_keeps_everything():
    calibration = good_scores.summarize(np.arange(50.0), 1.0, 255.0)
    assert msgspec.json.decode(msgspec.json.encode(calibration), type=GoodScores) == calibration
