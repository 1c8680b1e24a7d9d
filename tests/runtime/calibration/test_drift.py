"""Drift is reported soon after the scores moved, and rarely while they have not, however long one looks."""

from __future__ import annotations

import numpy as np
import pytest

from vedette.runtime.calibration import drift, good_scores
from vedette.runtime.calibration.drift import DriftMonitor

THRESHOLD = 130.0


def make_monitor(rng, images=120):
    scores = np.round(rng.normal(100, 10, images))
    return DriftMonitor(good_scores.summarize(scores, 1.0, 255.0), THRESHOLD)


def feed(monitor, scores, start=0.0):
    """Adds scores, one in each interval; returns the number after which drift was reported, or None."""
    for number, score in enumerate(scores):
        monitor.add(start + number * drift.INTERVAL_SECONDS, score)
        if number % 5 == 4 and monitor.figures().drifted:
            return number + 1
    return None


def test_like_scores_are_no_drift():
    rng = np.random.default_rng(0)
    for _ in range(8):
        assert feed(make_monitor(rng), np.round(rng.normal(100, 10, 3000))) is None


@pytest.mark.parametrize("mean", [115.0, 85.0])
def test_moved_scores_are_drift(mean):
    rng = np.random.default_rng(1)
    delays = [feed(make_monitor(rng), np.round(rng.normal(mean, 10, 400))) for _ in range(8)]
    assert all(delays)
    assert np.median(delays) < 60


def test_drift_is_found_after_a_long_time_without():
    rng = np.random.default_rng(2)
    monitor = make_monitor(rng)
    assert feed(monitor, np.round(rng.normal(100, 10, 2000))) is None
    assert feed(monitor, np.round(rng.normal(115, 10, 400)), start=1e6) is not None
    assert monitor.figures().share_above > 0.15


def test_report_ends_after_the_scores_are_back():
    rng = np.random.default_rng(3)
    monitor = make_monitor(rng)
    feed(monitor, np.full(2000, 120.0))
    assert monitor.figures().drifted
    for number, score in enumerate(np.round(rng.normal(100, 10, 2000))):
        monitor.add(1e6 + number * drift.INTERVAL_SECONDS, score)
    assert not monitor.figures().drifted


def test_alarms_and_frames_of_one_part_do_not_count():
    monitor = make_monitor(np.random.default_rng(4))
    assert monitor.figures() == drift.DriftFigures(0, 0.0, 0.0, 0.0)
    feed(monitor, np.full(1000, THRESHOLD))
    assert monitor.figures().samples == 0
    for frame in range(100):
        monitor.add(5000 + frame * drift.INTERVAL_SECONDS / 100, 120.0)
    assert (monitor.figures().samples, monitor.figures().share_above) == (1, 1.0)


def test_few_images_prove_less():
    """From five images it needs longer than from 120."""
    few, many = (DriftMonitor(good_scores.summarize(np.linspace(90, 110, n), 1.0, 255.0), THRESHOLD) for n in (5, 120))
    assert feed(many, np.full(400, 120.0)) < feed(few, np.full(400, 120.0))
