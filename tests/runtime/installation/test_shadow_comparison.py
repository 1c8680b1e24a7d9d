"""The shadow run tells releases that decide differently, or not at all, from those that are as before."""

from __future__ import annotations

import random

from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.installation.shadow_comparison import FIRST_LOOK, ShadowComparison


def compare(pairs, band=0.05, threshold=1.0):
    """The first fault over pairs of scores, and after how many."""
    comparison = ShadowComparison(band, threshold, threshold)
    for new, old in pairs:
        comparison.add([Prediction("anomaly", new)], [Prediction("anomaly", old)], 0.02, 0.01)
        if fault := comparison.find_fault():
            return fault, comparison
    return "", comparison


def draw(rate, count, seed):
    """Scores of which a share `rate` is decided differently."""
    source = random.Random(seed)
    for _ in range(count):
        old = source.uniform(0, 2)
        yield (2 - old if source.random() < rate else old), old


def test_releases_within_the_band_are_kept():
    faults = [compare(draw(0.05, 2000, seed))[0] for seed in range(200)]
    assert (
        sum(map(bool, faults)) <= 5
    )  # at the band's edge; under one in a hundred is promised, and chance is allowed for


def test_other_decisions_are_found_soon():
    for seed in range(20):
        fault, comparison = compare(draw(0.5, 1000, seed))
        assert "decides differently" in fault
        assert comparison.compared == FIRST_LOOK


def test_a_label_that_one_release_lacks_is_no_difference():
    comparison = ShadowComparison(0.05, 0.5, 0.5, {"dog"})
    for _ in range(FIRST_LOOK):
        comparison.add([Prediction("dog", 0.9), Prediction("error", 1.0)], [Prediction("error", 1.0)], 0.01, 0.01)
    assert comparison.different == 0


def test_a_score_that_never_changes_is_a_fault():
    fault, _ = compare((0.5, 0.5 + number / 1000) for number in range(200))
    assert "same score on 50 frames" in fault
    assert not compare((0.5, 0.5) for _ in range(200))[0]


def test_the_slowdown_is_that_of_the_medians():
    assert compare(draw(0, 60, 0))[1].slowdown() == 2
