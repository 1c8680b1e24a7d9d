"""The threshold from few images: it widens with their spread, and it proves nothing."""

from __future__ import annotations

import numpy as np
import pytest

from vedette.compress.evaluation.few_images_threshold import PRIORS, choose_few_images_threshold
from vedette.compress.evaluation.suspect_threshold import SuspectThreshold, choose_threshold_with_suspects

STEP = 0.01
PRIOR = PRIORS["patchcore"]


def choose(excesses, target=0.05, images=None):
    excesses = np.array(excesses)
    images = images or max(len(excesses), 1)
    groups = max(len(excesses), 1)
    return choose_few_images_threshold(np.array([1.0, 2.0, 4.0]), excesses, images, groups, STEP, target, PRIOR)


def test_one_image_takes_the_spread_of_other_products_and_says_so():
    threshold = choose([])
    assert threshold.score > 2.0 * np.exp(PRIOR.mean), "above the typical score of another part"
    assert threshold.rate_bound == 1.0
    assert not threshold.target_proven
    assert "the only good image" in threshold.statement
    assert "One image proves no false-alarm rate" in threshold.statement
    assert "59 independent good images" in threshold.statement
    assert "most defects may be missed" in threshold.statement


def test_images_that_vary_more_give_a_higher_threshold():
    even, uneven = choose([0.5, 0.52, 0.48, 0.5]), choose([0.1, 0.9, 0.2, 0.8])
    assert even.score < uneven.score
    assert "4 images prove no false-alarm rate" in even.statement
    assert "may be missed" not in even.statement


def test_a_smaller_rate_gives_a_higher_threshold():
    scores = [choose([0.4, 0.6, 0.5], target).score for target in (0.1, 0.05, 0.01)]
    assert scores == sorted(set(scores))


@pytest.mark.parametrize("images", [2, 4, 8, 16])
def test_rate_is_near_the_target_for_products_like_the_prior(images):
    rng = np.random.default_rng(0)
    exceeded = []
    for _ in range(400):
        center = PRIOR.mean / np.sqrt(images) + rng.normal(0, PRIOR.deviation / np.sqrt(PRIOR.mean_weight))
        threshold = choose(rng.normal(center, PRIOR.deviation, images), 0.1)
        exceeded.append((2.0 * np.exp(rng.normal(center, PRIOR.deviation, 200)) >= threshold.score).mean())
    assert 0.03 < np.mean(exceeded) < 0.13


def test_suspected_images_raise_the_threshold_and_the_report_gives_both():
    scores, groups = np.append(np.arange(1, 61) * STEP, 5.0), list(range(61))
    suspected = scores == 5.0
    threshold = choose_threshold_with_suspects(scores, suspected, STEP, 0.05, groups)
    assert isinstance(threshold, SuspectThreshold)
    assert threshold.score > threshold.score_without
    assert "One of these images looks defective" in threshold.statement
    assert f"{threshold.score_without:.3g} instead of {threshold.score:.3g}" in threshold.statement


def test_threshold_without_suspected_images_is_the_usual_one():
    scores, groups = np.arange(1, 61) * STEP, list(range(60))
    threshold = choose_threshold_with_suspects(scores, np.zeros(60, bool), STEP, 0.05, groups)
    assert not isinstance(threshold, SuspectThreshold)
