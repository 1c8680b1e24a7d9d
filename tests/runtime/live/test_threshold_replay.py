"""What another threshold would have done, against the rule that would have done it."""

from __future__ import annotations

import numpy as np
import pytest

from vedette.runtime import rules
from vedette.runtime.camera.frame import Frame, FrameTime
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.live.score_history import SAMPLE_SECONDS, ScoreHistory
from vedette.runtime.live.scores import read_scores
from vedette.runtime.live.threshold_replay import replay_threshold
from vedette.runtime.rules import RuleContext

MODEL = "weave:1:ab"
PIXELS = np.zeros((2, 2, 3), np.uint8)


def record(folder, scores, fps, debounce=1):
    history = ScoreHistory(folder, MODEL, 3.0, debounce)
    for number, score in enumerate(scores):
        history.add(FrameTime(1e9 + number / fps, number / fps), float(score), False)
    history.close()
    return read_scores(folder).of_model(MODEL)


def count_alarms(scores, fps, threshold, **settings):
    """The alarms of the real rule on the same frames."""
    table = {"use": "presence", "threshold": threshold, "update": 0.0, **settings}
    rule = rules.load_rule(table, RuleContext("door", MODEL, 3.0, ("anomaly",)))
    events = []
    for number, score in enumerate(scores):
        events += rule.observe(Frame("door", number, number / fps, PIXELS), (Prediction("anomaly", float(score)),))
    return sum(event.kind == "new" for event in events)


def scene(seed, fps, hours):
    """Good parts' scores that drift slowly and tremble from frame to frame; now and then a defect for some seconds."""
    rng = np.random.default_rng(seed)
    count = round(hours * 3600 * fps)
    knots = np.arange(0, count + 30 * fps, 30 * fps)
    scores = np.interp(np.arange(count), knots, rng.normal(2.0, 0.2, len(knots))) + rng.normal(0, 0.03, count)
    for start in rng.integers(0, count, round(6 * hours)):
        scores[start : start + int(rng.integers(1, 40 * fps))] += rng.uniform(0.3, 3.0)
    return scores


@pytest.mark.parametrize("settings", [{}, {"debounce": 3}, {"cooldown": 60.0}], ids=["plain", "debounce", "cooldown"])
def test_counts_what_the_rule_would_have_told(tmp_path, settings):
    fps, hours = 2, 4
    scores = scene(1, fps, hours)
    kept = record(tmp_path, scores, fps, settings.get("debounce", 1))
    for threshold in (2.2, 2.6, 3.0, 3.5, 4.5, 9.0):
        replayed = replay_threshold(kept, threshold, cooldown=settings.get("cooldown", 0.0))
        told = count_alarms(scores, fps, threshold, **settings)
        assert replayed.alarms == pytest.approx(told, rel=0.12, abs=1.1), threshold
        assert replayed.hours == pytest.approx(hours, rel=0.01)
        assert replayed.per_hour == pytest.approx(replayed.alarms / hours, rel=0.01)


def test_a_frame_in_each_entry_is_counted_exactly(tmp_path):
    rng = np.random.default_rng(2)
    scores, fps = rng.gamma(4.0, 0.5, 3000), 1 / SAMPLE_SECONDS
    kept = record(tmp_path, scores, fps)
    for threshold in (1.0, 2.0, 3.0, 5.0):
        assert replay_threshold(kept, threshold).alarms == count_alarms(scores, fps, threshold)


def test_a_score_at_the_threshold_counts(tmp_path):
    kept = record(tmp_path, [0.1, 2.3457, 0.1], 1 / SAMPLE_SECONDS)
    assert replay_threshold(kept, 2.3457).alarms == 1
    assert replay_threshold(kept, 2.3458).alarms == 0


def test_lasting_scores_are_one_alarm(tmp_path):
    kept = record(tmp_path, [0.1] * 50 + [4.0] * 900 + [0.1] * 50, 1)
    assert replay_threshold(kept, 3.0).alarms == 1


def test_only_the_last_day_counts(tmp_path):
    fps = 1 / SAMPLE_SECONDS
    scores = np.zeros(round(26 * 3600 * fps))
    scores[[100, len(scores) // 2]] = 5.0  # 26 and 13 hours ago
    kept = record(tmp_path, scores, fps)
    replayed = replay_threshold(kept, 3.0)
    assert (replayed.alarms, round(replayed.hours)) == (1, 24)
    assert replay_threshold(kept, 3.0, seconds=1e6).alarms == 2


def test_less_than_an_hour_says_too_little(tmp_path):
    assert replay_threshold(record(tmp_path, [5.0] * 100, 1), 3.0).per_hour is None
    nothing = replay_threshold(read_scores(tmp_path / "nobody"), 3.0)
    assert (nothing.alarms, nothing.hours, nothing.per_hour) == (0, 0.0, None)
