"""The presence rule on scripted scores: each event exactly where it must be."""

from __future__ import annotations

import numpy as np
import pytest

from vedette.runtime import rules
from vedette.runtime.camera.frame import Frame
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.rules import Context

PIXELS = np.zeros((2, 2, 3), np.uint8)


def play(scores, fps=10.0, **settings):
    """What happens at which frame: `new@2`, `end@5`, … An end stands at the last frame in which the thing was seen."""
    rule = rules.load(
        {"use": "presence", "hysteresis": 0.0, **settings}, Context("door", "m", 1.0, ("anomaly", "other"))
    )
    events = []
    for number, score in enumerate(scores):
        seen = () if score is None else (Prediction("anomaly", score),)
        events += rule.observe(Frame("door", number, number / fps, PIXELS), seen)
    return events + rule.close()


def told(events):
    return " ".join(f"{event.kind}@{event.frame}" for event in events)


@pytest.mark.parametrize(
    ("scores", "settings", "story"),
    [
        ([0, 2, 2, 0], {}, "new@1 end@2"),
        ([0, 2, 0, 2], {}, "new@1 end@1 new@3 end@3"),
        ([1.0], {}, "new@0 end@0"),  # at the threshold is present
        ([0.999], {}, ""),
        ([0, None, 2, None], {}, "new@2 end@2"),
        ([2, 0.95, 0.95, 2, 0.85], {"hysteresis": 0.1}, "new@0 end@3"),
        ([0.95, 0.95], {"hysteresis": 0.1}, ""),  # hysteresis lets go later, it does not take hold earlier
        ([2, 2, 0, 2, 2, 2, 0], {"debounce": 3}, "new@5 end@5"),
        ([2, 0, 2, 0, 2, 0, 2, 0], {"cooldown": 0.35}, "new@0 end@0 new@4 end@4"),
        ([2, 2, 2, 2, 2], {"update": 0.2}, "new@0 update@2 update@4 end@4"),
        ([2, 2, 2, 2, 2], {"update": 0}, "new@0 end@4"),
        ([3, 3, 5, 3], {"threshold": 4.0}, "new@2 end@2"),
        ([2, 2], {"label": "other"}, ""),
        ([], {}, ""),
    ],
)
def test_stories(scores, settings, story):
    assert told(play(scores, **settings)) == story


def test_an_event_carries_its_beginning_and_its_top():
    new, end = play([0, 2, 5, 3, 0])
    assert new.event == new.id == end.event != end.id
    assert (new.started, end.started, end.taken) == (0.1, 0.1, 0.3)
    assert (new.top_score, end.top_score) == (2, 5)
    assert end.predictions == (Prediction("anomaly", 3),)


def test_a_debounced_event_began_with_its_first_frame():
    (new, _) = play([0, 2, 2, 2], debounce=3)
    assert (new.started, new.taken) == (0.1, 0.3)


def test_time_counts_not_frames():
    """The same second of scores at two frame rates gives the same events, half the frames apart."""
    slow = play([2, 0, 0, 2, 0, 0, 2], fps=10, cooldown=0.5)
    fast = play([2, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 2], fps=20, cooldown=0.5)
    assert [event.kind for event in slow] == [event.kind for event in fast]
    assert told(slow) == "new@0 end@0 new@6 end@6"


LABELS = ("good", "scratch", "spot", "unknown")


@pytest.mark.parametrize(
    ("settings", "story"),
    [
        ({}, "new@1 end@2 new@4 end@4"),  # neither what is normal nor what is unknown
        ({"labels": ["spot"]}, "new@2 end@2"),
        ({"labels": ["spot", "unknown"]}, "new@2 end@3"),
        ({"label": "good"}, "new@0 end@0 new@5 end@5"),
        ({"labels": ["scratch"], "threshold": 0.8}, "new@4 end@4"),
    ],
)
def test_labels_decide_what_counts(settings, story):
    rule = rules.load(
        {"use": "presence", "hysteresis": 0.0, **settings}, Context("door", "m", 0.0, LABELS, ("good", "unknown"))
    )
    seen = [("good", 0.9), ("scratch", 0.7), ("spot", 0.9), ("unknown", 0.4), ("scratch", 0.9), ("good", 0.6)]
    events = []
    for number, prediction in enumerate(seen):
        events += rule.observe(Frame("door", number, number / 10, PIXELS), (Prediction(*prediction),))
    assert told(events + rule.close()) == story


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"labels": ["scratch", "dog"]}, "labels: unknown 'dog'"),
        ({"labels": []}, "no label counts"),
        ({"label": "scratch", "labels": ["spot"]}, "both set"),
    ],
)
def test_labels_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(ConfigProblem, match=said):
        rules.load({"use": "presence", **settings}, Context("door", "m", 0.0, LABELS, ("good", "unknown")))


def test_a_label_that_the_bundle_does_not_have_is_refused():
    with pytest.raises(ConfigProblem, match="'dog'") as caught:
        play([2], label="dog")
    assert "anomaly, other" in caught.value.hint
