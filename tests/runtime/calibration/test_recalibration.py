"""Recalibration follows scores that moved, with the guarantee of a build, and states what it proves."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy import stats

from vedette.compress.evaluation import conformal_threshold
from vedette.runtime.calibration import good_scores, recalibration
from vedette.runtime.calibration.recalibration import Recalibration, ScoreScale

SCALE = ScoreScale(1.0, 255.0)
BUILD = np.round(np.random.default_rng(0).normal(60, 8, 150))
BUILD_SCORES = good_scores.summarize(BUILD, SCALE.step, SCALE.highest)


def recalibrate(scores, rate=0.05, build_scores=BUILD_SCORES):
    return recalibration.recalibrate(scores, SCALE, build_scores, rate, "2026-01-31T12:00Z")


def test_moved_scores_give_the_offset_and_the_same_p_values():
    moved = recalibrate(BUILD + 37)
    assert moved.offset == 37
    assert moved.threshold == conformal_threshold.choose_threshold(BUILD, 1.0, 0.05).score
    assert moved.good_scores.p_value(75.0) == pytest.approx(BUILD_SCORES.p_value(75.0), rel=0.01)


def test_threshold_is_the_conformal_one_of_the_new_scores():
    """Whatever the build was: the offset only moves the scale."""
    scores = np.round(np.random.default_rng(1).normal(90, 15, 20))
    with_offset, without = recalibrate(scores), recalibrate(scores, build_scores=None)
    assert without.offset == 0
    assert without.threshold == scores.max() + 0.5
    assert with_offset.threshold + with_offset.offset == without.threshold
    assert with_offset.rate_bound == without.rate_bound == pytest.approx(1 - 0.05 ** (1 / 20))


def test_bound_holds_under_other_light():
    """The rate of new parts above the threshold exceeds the bound in at most 5 % of the recalibrations."""
    rng, truth = np.random.default_rng(2), stats.norm(120, 20)
    missed = []
    for _ in range(300):
        found = recalibrate(np.round(truth.rvs(20, random_state=rng)))
        missed.append(truth.sf(found.threshold + found.offset) > found.rate_bound)
    assert np.sum(missed) <= stats.binom.ppf(0.9999, 300, 0.05)


def test_statement_says_if_the_images_are_too_few():
    assert "0.05 takes 59" in recalibrate(BUILD[:20]).statement
    enough = recalibrate(BUILD)
    assert enough.rate_bound <= 0.05
    assert "takes" not in enough.statement
    assert "from 150 good images (2026-01-31T12:00Z)" in enough.statement


def test_json_keeps_everything():
    found = recalibrate(BUILD)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Recalibration) == found
