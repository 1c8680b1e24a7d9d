"""Each open event says what was measured beside its limit."""

from __future__ import annotations

import pytest
from scenes import CONTEXT, PIXELS, START, Scene, Walker

from vedette.runtime import rules
from vedette.runtime.camera.frame import Frame
from vedette.runtime.config.tracker_table import TrackerSettings
from vedette.runtime.events.event import EventReason
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.rules import RuleContext
from vedette.runtime.rules.open_event import add_reasons
from vedette.runtime.tracking.tracker import Tracker

YARD = [[0.2, 0.5], [0.8, 0.5], [0.8, 1.0], [0.2, 1.0]]
GROUND = [[0.0, 0.5], [1.0, 0.5], [1.0, 1.0], [0.0, 1.0]]
METRES = [[0, 0], [10, 0], [10, 5], [0, 5]]
WALK = Walker(((0.0, 0.04, 0.7), (4.5, 0.94, 0.7)))  # 2 m/s
STAND = Walker(((0.0, 0.5, 0.7), (9.0, 0.5, 0.7)))
GROUP = tuple(Walker(((0.0, x, 0.7), (9.0, x, 0.7))) for x in (0.25, 0.4, 0.55))


def open_events(table, walkers, seconds):
    """The rule's open events after some seconds of a scene."""
    rule, tracker = rules.load_rule(table, CONTEXT), Tracker(TrackerSettings(), CONTEXT.threshold)
    for frame, seen, _ in Scene(walkers, seconds).film(10):
        rule.observe(frame, tracker.update(frame, seen))
    return list(rule.open_events())


@pytest.mark.parametrize(
    ("table", "walkers", "expected"),
    [
        (
            {"use": "zone", "zones": {"yard": YARD}},
            (STAND,),
            ("score", 0.9, 0.5, "person in yard: score 0.9; the limit is 0.5"),
        ),
        (
            {"use": "dwell", "zones": {"yard": YARD}, "seconds": 2.0},
            (STAND,),
            ("seconds", 3.0, 2.0, "person in yard: 3 s; the limit is 2 s"),
        ),
        (
            {"use": "crowd", "polygon": YARD, "count": 2},
            GROUP,
            ("objects", 3, 2, "person: 3 objects; the limit is 2 objects"),
        ),
        (
            {"use": "speed", "points": GROUND, "metres": METRES, "limit": 5.0},
            (WALK,),
            ("speed", 7.2, 5.0, "person: 7.2 km/h; the limit is 5 km/h"),
        ),
        (
            {"use": "wrong_way", "way": [[0.9, 0.7], [0.1, 0.7]], "min_score": 0.6},
            (WALK,),
            ("score", 0.9, 0.6, "person: score 0.9; the limit is 0.6"),
        ),
    ],
    ids=lambda each: each.get("use") if isinstance(each, dict) else None,
)
def test_reason_of_an_open_event(table, walkers, expected):
    (opened,) = open_events(table, walkers, 3.0)
    assert opened.quantity == expected[0]
    assert opened.measured == pytest.approx(expected[1], rel=0.05)
    assert opened.limit == expected[2]
    assert opened.why.split(":")[0] == expected[3].split(":")[0]
    assert opened.why.split(";")[1] == expected[3].split(";")[1]
    assert START <= opened.since <= START + 1.5
    assert (opened.rule, bool(opened.event)) == (table["use"], True)


def test_nothing_is_open_before_and_after():
    table = {"use": "dwell", "polygon": YARD, "seconds": 5.0}
    assert open_events(table, (STAND,), 3.0) == []
    assert open_events({"use": "zone", "polygon": YARD}, (WALK,), 8.0) == []
    assert open_events({"use": "crossing", "line": [[0.5, 0.0], [0.5, 1.0]]}, (WALK,), 4.0) == []


def test_presence_names_the_score_and_the_area():
    rule = rules.load_rule({"use": "presence"}, RuleContext("door", "m", 3.0, ("anomaly",)))
    for number, score in enumerate((1.0, 3.5, 3.2)):
        seen = (Prediction("anomaly", score, area="bore"),)
        rule.observe(Frame("door", number, START + number, PIXELS), seen)
    (opened,) = rule.open_events()
    assert (opened.since, opened.why) == (START + 1, "anomaly in bore: score 3.2; the limit is 3")
    rule.close()
    assert rule.open_events() == []


def test_events_carry_their_reason_while_they_are_open():
    rule = rules.load_rule({"use": "presence", "update": 0.5}, RuleContext("door", "m", 3.0, ("anomaly",)))
    told = []
    for number, score in enumerate((1.0, 3.5, 4.2, 1.0)):
        events = rule.observe(Frame("door", number, START + number, PIXELS), (Prediction("anomaly", score),))
        told += add_reasons(events, rule.open_events())
    assert [each.kind for each in told] == ["new", "update", "end"]
    assert [each.reason for each in told] == [EventReason("score", 3.5, 3.0), EventReason("score", 4.2, 3.0), None]
