"""The presence rule on scripted scores."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import kinds_and_frames

from vedette.runtime import rules
from vedette.runtime.camera.frame import Frame
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.rules import RuleContext

PIXELS = np.zeros((2, 2, 3), np.uint8)


def run_rule_on_scores(scores, fps=10.0, **settings):
    """The kind and frame of each event, such as `new@2`, `end@5`. An end carries the last frame above the threshold."""
    rule = rules.load_rule(
        {"use": "presence", "hysteresis": 0.0, **settings}, RuleContext("door", "m", 1.0, ("anomaly", "other"))
    )
    events = []
    for number, score in enumerate(scores):
        seen = () if score is None else (Prediction("anomaly", score),)
        events += rule.observe(Frame("door", number, number / fps, PIXELS), seen)
    return events + rule.close()


@pytest.mark.parametrize(
    ("scores", "settings", "story"),
    [
        ([0, 2, 2, 0], {}, "new@1 end@2"),
        ([0, 2, 0, 2], {}, "new@1 end@1 new@3 end@3"),
        ([1.0], {}, "new@0 end@0"),  # a score at the threshold counts
        ([0.999], {}, ""),
        ([0, None, 2, None], {}, "new@2 end@2"),
        ([2, 0.95, 0.95, 2, 0.85], {"hysteresis": 0.1}, "new@0 end@3"),
        ([0.95, 0.95], {"hysteresis": 0.1}, ""),  # hysteresis delays the end, not the start
        ([2, 2, 0, 2, 2, 2, 0], {"debounce": 3}, "new@5 end@5"),
        ([2, 0, 2, 0, 2, 0, 2, 0], {"cooldown": 0.35}, "new@0 end@0 new@4 end@4"),
        ([2, 2, 2, 2, 2], {"update": 0.2}, "new@0 update@2 update@4 end@4"),
        ([2, 2, 2, 2, 2], {"update": 0}, "new@0 end@4"),
        ([3, 3, 5, 3], {"threshold": 4.0}, "new@2 end@2"),
        ([2, 2], {"label": "other"}, ""),
        ([], {}, ""),
    ],
)
def test_events_for_score_sequences(scores, settings, story):
    assert kinds_and_frames(run_rule_on_scores(scores, **settings)) == story


def test_event_carries_start_and_top_score():
    new, end = run_rule_on_scores([0, 2, 5, 3, 0])
    assert new.event == new.id == end.event != end.id
    assert (new.started, end.started, end.taken) == (0.1, 0.1, 0.3)
    assert (new.top_score, end.top_score) == (2, 5)
    assert end.predictions == (Prediction("anomaly", 3),)


def test_debounced_event_starts_at_its_first_frame():
    (new, _) = run_rule_on_scores([0, 2, 2, 2], debounce=3)
    assert (new.started, new.taken) == (0.1, 0.3)


def test_cooldown_and_update_use_seconds():
    """One second of scores at two frame rates gives equal events, half as many frames apart."""
    slow = run_rule_on_scores([2, 0, 0, 2, 0, 0, 2], fps=10, cooldown=0.5)
    fast = run_rule_on_scores([2, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 2], fps=20, cooldown=0.5)
    assert [event.kind for event in slow] == [event.kind for event in fast]
    assert kinds_and_frames(slow) == "new@0 end@0 new@6 end@6"


LABELS = ("good", "scratch", "spot", "unknown")


@pytest.mark.parametrize(
    ("settings", "story"),
    [
        ({}, "new@1 end@2 new@4 end@4"),  # neither normal labels nor unknown
        ({"labels": ["spot"]}, "new@2 end@2"),
        ({"labels": ["spot", "unknown"]}, "new@2 end@3"),
        ({"label": "good"}, "new@0 end@0 new@5 end@5"),
        ({"labels": ["scratch"], "threshold": 0.8}, "new@4 end@4"),
    ],
)
def test_only_configured_labels_count(settings, story):
    rule = rules.load_rule(
        {"use": "presence", "hysteresis": 0.0, **settings}, RuleContext("door", "m", 0.0, LABELS, ("good", "unknown"))
    )
    seen = [("good", 0.9), ("scratch", 0.7), ("spot", 0.9), ("unknown", 0.4), ("scratch", 0.9), ("good", 0.6)]
    events = []
    for number, prediction in enumerate(seen):
        events += rule.observe(Frame("door", number, number / 10, PIXELS), (Prediction(*prediction),))
    assert kinds_and_frames(events + rule.close()) == story


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"labels": ["scratch", "dog"]}, "labels: unknown 'dog'"),
        ({"labels": []}, "no label counts"),
        ({"label": "scratch", "labels": ["spot"]}, "both set"),
    ],
)
def test_invalid_labels_are_rejected(settings, said):
    with pytest.raises(ConfigProblem, match=said):
        rules.load_rule({"use": "presence", **settings}, RuleContext("door", "m", 0.0, LABELS, ("good", "unknown")))


def test_label_unknown_to_the_bundle_is_rejected():
    with pytest.raises(ConfigProblem, match="'dog'") as caught:
        run_rule_on_scores([2], label="dog")
    assert "anomaly, other" in caught.value.hint
