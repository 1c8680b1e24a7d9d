"""Rules at their exact limits: scores, counts and seconds that equal a setting, and settings outside of their range."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from scenes import kinds_and_frames

from vedette.runtime.camera.frame import Frame
from vedette.runtime.events.event import Event
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.rules import RuleContext, load_rule
from vedette.runtime.rules.conditions.debounce import Debounce

PIXELS = np.zeros((2, 2, 3), np.uint8)
CONTEXT = RuleContext("door", "m", 0.5, ("person", "car", "good"), ("good",))
LEFT, RIGHT = Box(0.1, 0.1, 0.2, 0.5), Box(0.7, 0.1, 0.8, 0.5)
LEFT_HALF = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]


def run(table: dict[str, Any], frames: list[list[Prediction]], fps: float = 10.0) -> list[Event]:
    """The events of a rule for the predictions of consecutive frames."""
    rule = load_rule(table, CONTEXT)
    events: list[Event] = []
    for number, predictions in enumerate(frames):
        events += rule.observe(Frame("door", number, 100 + number / fps, PIXELS), tuple(predictions))
    return events + list(rule.close())


def person(score: float = 0.9, box: Box | None = LEFT, track: int | None = None, label: str = "person") -> Prediction:
    return Prediction(label, score, box, track)


@pytest.mark.parametrize(
    ("predictions", "crowded"),
    [
        ([person(0.5), person(0.5)], True),  # a score that equals the threshold counts
        ([person(0.5), person(0.499)], False),
        ([person(), person(), person()], True),
        ([person()], False),
        ([person(), person(box=None)], False),
        ([person(), person(label="car")], True),  # labels that are not normal count unless the rule names some
        ([person(), person(label="good")], False),
        ([person(), person(box=RIGHT)], False),
    ],
)
def test_crowd_counts_boxes_of_its_labels_in_its_zone_at_or_above_its_score(
    predictions: list[Prediction], crowded: bool
) -> None:
    table = {"use": "crowd", "polygon": LEFT_HALF, "count": 2, "inertia": 0.0}
    assert bool(run(table, [predictions])) == crowded


def test_crowd_has_neither_box_nor_track_of_one_of_its_members() -> None:
    table = {"use": "crowd", "polygon": LEFT_HALF, "count": 1, "inertia": 0.0}
    (new, _) = run(table, [[person(track=1), person(0.8, track=2)]])
    assert new.after is not None
    assert (new.after.box, new.track) == (None, None)
    (new, _) = run(table, [[person(track=1)]])
    assert new.after is not None
    assert (new.after.box, new.track) == (LEFT, 1)


def test_an_update_is_sent_when_exactly_its_interval_has_passed() -> None:
    table = {"use": "crowd", "polygon": LEFT_HALF, "count": 1, "inertia": 0.0, "update": 0.5}
    assert kinds_and_frames(run(table, [[person()]] * 12)) == "new@0 update@5 update@10 end@11"
    assert kinds_and_frames(run(table | {"update": 0}, [[person()]] * 12)) == "new@0 end@11"


def test_crowd_ends_when_its_schedule_ends() -> None:
    """Frames are taken at 00:01:40, 00:01:50, 00:02:00, …, UTC."""
    table = {"use": "crowd", "polygon": LEFT_HALF, "count": 1, "inertia": 0.0, "hours": "00:00-00:02", "update": 0}
    context = msgspec.structs.replace(CONTEXT, timezone="UTC")
    rule = load_rule(table, context)
    frames = [Frame("door", number, 100.0 + 10 * number, PIXELS) for number in range(5)]
    assert kinds_and_frames([event for frame in frames for event in rule.observe(frame, (person(),))]) == "new@0 end@1"
    assert list(rule.close()) == []


def test_a_crowd_with_inertia_starts_when_exactly_the_inertia_has_passed() -> None:
    table = {"use": "crowd", "polygon": LEFT_HALF, "count": 1, "inertia": 0.3}
    assert kinds_and_frames(run(table, [[person()]] * 5)) == "new@3 end@4"
    assert kinds_and_frames(run(table, [[person()]] * 3)) == ""


@pytest.mark.parametrize(
    ("scores", "settings", "expected"),
    [
        ([0.5], {}, "new@0 end@0"),
        ([1.0, 0.45, 0.0], {"hysteresis": 0.1}, "new@0 end@1"),  # exactly threshold * (1 - hysteresis) stays open
        ([1.0, 0.449, 1.0], {"hysteresis": 0.1}, "new@0 end@0 new@2 end@2"),
        ([1.0] * 5, {"debounce": 4, "cooldown": 0.0}, "new@3 end@4"),
        ([1.0, 0.0, 1.0, 1.0], {"cooldown": 0.25}, "new@0 end@0 new@3 end@3"),
        ([1.0, 0.0, 1.0, 1.0], {"cooldown": 0.125}, "new@0 end@0 new@2 end@3"),
        ([1.0] * 9, {"update": 0.25}, "new@0 update@3 update@6 end@8"),
    ],
)
def test_presence_at_its_limits(scores: list[float], settings: dict[str, Any], expected: str) -> None:
    table = {"use": "presence", "hysteresis": 0.0, **settings}
    assert kinds_and_frames(run(table, [[person(score, None)] for score in scores])) == expected


def test_presence_debounce_outlasts_a_cooldown() -> None:
    """Frames above the threshold during the cooldown count towards the debounce."""
    table = {"use": "presence", "hysteresis": 0.0, "debounce": 2, "cooldown": 0.55}
    scores = [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    new, end, again, _ = run(table, [[person(score, None)] for score in scores])
    assert (new.started, end.taken) == (pytest.approx(100.0), pytest.approx(100.1))
    assert again.started == pytest.approx(again.taken - 0.1), "it starts `debounce` frames back, not at the first one"


@pytest.mark.parametrize("use", ["presence", "crowd", "zone", "dwell"])
def test_rules_have_the_documented_defaults(use: str) -> None:
    needed = {"crowd": {"count": 1}, "dwell": {"seconds": 1.0}}.get(use, {})
    places = {} if use == "presence" else {"polygon": LEFT_HALF}
    table = {"use": use, **places, **needed}
    rule: Any = load_rule(table, CONTEXT)
    settings = msgspec.convert(table, rule.Settings)
    assert (settings.update, settings.priority) == (10.0, 5)
    if use == "presence":
        assert (settings.hysteresis, settings.debounce, settings.cooldown) == (0.1, 1, 0.0)


@pytest.mark.parametrize(
    "table",
    [
        {"use": "presence", "hysteresis": -0.1},
        {"use": "presence", "hysteresis": 1.0},
        {"use": "presence", "debounce": 0},
        {"use": "presence", "cooldown": -1.0},
        {"use": "presence", "update": -1.0},
        {"use": "presence", "priority": 10},
        {"use": "presence", "priority": -1},
        {"use": "presence", "unknown": 1},
        {"use": "crowd", "count": 0},
        {"use": "crowd", "count": 1, "unknown": 1},
        {"use": "dwell", "seconds": 0},
        {"use": "dwell", "seconds": 1, "unknown": 1},
        {"use": "zone", "unknown": 1},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(table: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        load_rule(table if table["use"] == "presence" else table | {"polygon": LEFT_HALF}, CONTEXT)


@pytest.mark.parametrize(
    "table",
    [
        {"use": "presence", "priority": 0},
        {"use": "presence", "debounce": 1},
        {"use": "presence", "priority": 9},
        {"use": "dwell", "seconds": 0.5, "polygon": LEFT_HALF},
    ],
    ids=str,
)
def test_settings_at_the_ends_of_their_range_are_taken(table: dict[str, Any]) -> None:
    assert load_rule(table, CONTEXT)


@pytest.mark.parametrize(
    ("table", "needs_tracks"),
    [
        ({"use": "presence"}, False),
        ({"use": "crowd", "count": 1, "polygon": LEFT_HALF}, False),
        ({"use": "zone", "polygon": LEFT_HALF}, True),
        ({"use": "dwell", "seconds": 1.0, "polygon": LEFT_HALF}, True),
    ],
)
def test_only_rules_about_single_objects_need_tracks(table: dict[str, Any], needs_tracks: bool) -> None:
    assert load_rule(table, CONTEXT).needs_tracks == needs_tracks


def test_debounce_switches_when_exactly_its_seconds_have_passed() -> None:
    debounce = Debounce(0.5)
    assert [debounce.update(True, taken) for taken in (10.0, 10.25, 10.49, 10.5)] == [False, False, False, True]
    assert [debounce.update(False, taken) for taken in (11.0, 11.25)] == [True, True]
    assert debounce.update(True, 11.3) is True, "one frame with the old value begins anew"
    assert [debounce.update(False, taken) for taken in (12.0, 12.25, 12.5)] == [True, True, False]


def test_debounce_begins_anew_when_time_goes_back() -> None:
    debounce = Debounce(0.5)
    assert [debounce.update(True, taken) for taken in (10.0, 5.0, 5.25, 5.5)] == [False, False, False, True]
