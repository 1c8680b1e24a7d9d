"""The check of p-values tells good test images that are like those of the calibration from others."""

from __future__ import annotations

import numpy as np

from vedette.compress.evaluation.p_values import HeldOutScores, check_p_values
from vedette.runtime.calibration import good_scores


def make_held_out(rng):
    scores = np.round(rng.normal(100, 10, 150))
    return HeldOutScores(scores, good_scores.summarize(scores, 1.0, 255.0))


def test_like_images_have_uniform_p_values():
    rng = np.random.default_rng(0)
    checks = [check_p_values(make_held_out(rng), np.round(rng.normal(100, 10, 200))) for _ in range(40)]
    assert np.mean([check.probability < 0.1 for check in checks]) < 0.25
    assert 0.06 < np.mean([check.share for check in checks]) < 0.13
    assert all(check.interval[0] <= check.share <= check.interval[1] for check in checks)


def test_other_images_are_told():
    rng = np.random.default_rng(1)
    check = check_p_values(make_held_out(rng), np.round(rng.normal(110, 10, 200)))
    assert check.probability < 1e-6
    assert check.distance > 0.3
    assert check.interval[0] > check.level
