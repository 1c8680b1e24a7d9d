"""Schedules, polygons, and errors in a rule's table."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scenes import CONTEXT, START, Scene, Walker, run_rule

from vedette.runtime import rules
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.rules.conditions.debounce import Debounce
from vedette.runtime.rules.conditions.region import PolygonRegion
from vedette.runtime.rules.conditions.schedule import Schedule

BERLIN = "Europe/Berlin"


def is_active_at(schedule, text, zone=BERLIN):
    return schedule.is_active(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


@pytest.mark.parametrize(
    ("hours", "days", "inside", "outside"),
    [
        ("08:00-17:30", None, ["2026-03-02T08:00", "2026-03-02T17:29:59"], ["2026-03-02T07:59:59", "2026-03-02T17:30"]),
        (
            "22:00-06:00",
            None,
            ["2026-03-02T22:00", "2026-03-02T00:00", "2026-03-02T05:59"],
            ["2026-03-02T06:00", "2026-03-02T12:00"],
        ),
        # 2026-03-06 is a Friday: a span belongs to the day on which it starts
        ("22:00-06:00", ("fri",), ["2026-03-06T23:00", "2026-03-07T05:00"], ["2026-03-06T05:00", "2026-03-07T23:00"]),
        (
            None,
            ("sat", "sun"),
            ["2026-03-07T00:00", "2026-03-08T23:59:59"],
            ["2026-03-06T23:59:59", "2026-03-09T00:00"],
        ),
        (
            ("06:00-09:00", "16:00-24:00"),
            None,
            ["2026-03-02T07:00", "2026-03-02T23:59"],
            ["2026-03-02T12:00", "2026-03-02T00:00"],
        ),
        (None, None, ["2026-03-02T12:00"], []),
        ("02:30-04:00", None, ["2026-03-29T03:00", "2026-10-25T02:45"], ["2026-10-25T04:00"]),  # clocks change
    ],
)
def test_schedule_is_active_in_its_hours(hours, days, inside, outside):
    schedule = Schedule(hours, days, BERLIN)
    assert [is_active_at(schedule, each) for each in inside] == [True] * len(inside)
    assert [is_active_at(schedule, each) for each in outside] == [False] * len(outside)


def test_hours_use_the_time_zone(monkeypatch):
    noon = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("UTC")).timestamp()
    assert [Schedule("14:00-15:00", None, zone).is_active(noon) for zone in (BERLIN, "UTC", "Asia/Tokyo")] == [
        True,
        False,
        False,
    ]
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert Schedule("21:00-22:00", None, "").is_active(noon), "without one the machine's"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_rule_is_inactive_outside_its_schedule():
    """The scene starts at 22:13:20 UTC. An object present before 22:15 is reported from 22:15 until 22:16."""
    context = msgspec.structs.replace(CONTEXT, timezone="UTC")
    walker = Walker(((0.0, 0.3, 0.7), (300.0, 0.3, 0.7)))
    table = {"use": "zone", "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]], "update": 0}
    played = run_rule(Scene((walker,), 300.0), table | {"hours": "22:15-22:16"}, 5, context=context)
    assert played.story() == ["new 0", "end 0"]
    assert played.times("new", "started") == [100.0]
    assert played.times("end") == [159.8]
    dwell = table | {"use": "dwell", "seconds": 30.0, "hours": "22:15-22:16"}
    assert run_rule(Scene((walker,), 300.0), dwell, 5, context=context).times("new") == [130.0]
    twice = table | {"hours": ["22:15-22:16", "22:17-22:18"]}
    patient = msgspec.structs.replace(context, max_lost_seconds=100.0)
    assert run_rule(Scene((walker,), 300.0), twice, 5, context=patient).times("end") == [159.8, 279.8]
    monday = table | {"days": ["mon"]}
    assert run_rule(Scene((walker,), 10.0), monday, 5, context=context).events == []


UNIT = st.integers(0, 40).map(lambda each: each / 40)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(UNIT, UNIT), min_size=3, max_size=7))
def test_polygon_contains_what_its_raster_contains(points):
    """Compared with a raster of 200 x 200 drawn by Pillow, except for pixels along the edges."""
    try:
        region = PolygonRegion(tuple(points), "polygon")
    except ConfigProblem:
        return
    corners = [(x * 199, y * 199) for x, y in points]
    whole = Image.new("L", (200, 200))
    ImageDraw.Draw(whole).polygon(corners, fill=1)
    edge = Image.new("L", (200, 200))
    ImageDraw.Draw(edge).line([*corners, corners[0]], fill=1, width=5)
    inside, near = np.array(whole, bool), np.array(edge, bool)
    for y, x in np.argwhere(~near)[::37]:
        assert region.contains((x / 199, y / 199)) == inside[y, x]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(UNIT, UNIT), min_size=3, max_size=7), st.randoms())
def test_first_corner_and_orientation_do_not_matter(points, random):
    def region(points):
        try:
            return PolygonRegion(tuple(points), "polygon")
        except ConfigProblem:
            return None

    turn = random.randrange(len(points))
    one, other = region(points), region((points[turn:] + points[:turn])[:: random.choice((1, -1))])
    assert (one is None) == (other is None)
    for point in [(random.random(), random.random()) for _ in range(50)]:
        assert one is None or one.contains(point) == other.contains(point)


@pytest.mark.parametrize("seconds", [0.3, 0.5, 1.0])
def test_debounce_follows_a_lasting_value_only(seconds):
    """An alternating value never gets through; a lasting one does, after the debounce time."""
    inertia = Debounce(seconds)
    assert not any(inertia.update(k % 2 == 0, START + k / 10) for k in range(50))
    believed = [inertia.update(True, START + 5 + k / 10) for k in range(20)]
    assert believed.index(True) == round(seconds * 10)


SQUARE = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]
FOUR = {"points": SQUARE, "metres": [[0, 0], [5, 0], [5, 5], [0, 5]], "limit": 30}


@pytest.mark.parametrize(
    ("table", "said", "hint"),
    [
        ({"use": "zone"}, "no polygon", "polygon = "),
        ({"use": "zone", "polygon": [[0, 0], [1, 1]]}, "polygon: 2 points", "at least three"),
        ({"use": "zone", "polygon": [[0, 0], [1.5, 0], [1, 1]]}, r"polygon\[1\]: \[1.5, 0\] is outside", "fractions"),
        ({"use": "zone", "polygon": [[0, 0], [float("nan"), 0], [1, 1]]}, r"polygon\[1\].*outside", "fractions"),
        ({"use": "zone", "polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}, "polygon: the edges .* cross", "in order"),
        ({"use": "zone", "polygon": [[0, 0], [0.5, 0.5], [1, 1]]}, "polygon: it encloses nothing", "one line"),
        ({"use": "dwell", "seconds": 3.0, "zones": {"yard": [[0, 0], [1, 1]]}}, "zones.yard: 2 points", "three"),
        ({"use": "zone", "polygon": SQUARE, "zones": {"a": SQUARE}}, "polygon and zones are both set", "keep zones"),
        ({"use": "zone", "polygon": SQUARE, "labels": ["dog"]}, "labels: unknown 'dog'", "person, car"),
        ({"use": "left_object", "ignore": ["dog"]}, "ignore: unknown 'dog'", "person, car"),
        ({"use": "left_object", "seconds": 700.0}, "absorb: after 600 s", "longer than seconds"),
        ({"use": "zone", "polygon": SQUARE, "days": ["monday"]}, "days: unknown 'monday'", "mon, tue"),
        ({"use": "zone", "polygon": SQUARE, "days": []}, "days: none", "leave days out"),
        ({"use": "zone", "polygon": SQUARE, "hours": "8-17"}, "hours: '8-17' is no span", "22:00-06:00"),
        ({"use": "zone", "polygon": SQUARE, "hours": "08:00-25:00"}, "hours: '08:00-25:00' is no span", "22:00-06:00"),
        ({"use": "zone", "polygon": SQUARE, "hours": "08:60-09:00"}, "hours: '08:60-09:00' is no span", "22:00-06:00"),
        ({"use": "zone", "polygon": SQUARE, "hours": "08:00-08:00"}, "hours: '08:00-08:00' is empty", "whole day"),
        ({"use": "crossing", "line": [[0.5, 0.5]]}, "line: it has no length", "two points"),
        ({"use": "crossing", "line": [[0.5, 0.5], [0.5, 0.5]]}, "line: it has no length", "two points"),
        ({"use": "crossing", "line": [[0.5, 0.5], [0.5, -0.1]]}, r"line\[1\].*outside", "fractions"),
        ({"use": "wrong_way", "way": [[0.5, 0.5], [0.5, 0.5]]}, "way: the two points are equal", "start and the end"),
        (
            {"use": "speed"} | FOUR | {"points": [[0.1, 0.1], [0.5, 0.5], [0.9, 0.9], [0.1, 0.9]]},
            "points: three of the four lie on one line",
            "quadrilateral",
        ),
        (
            {"use": "speed"} | FOUR | {"metres": [[0, 0], [1, 0], [2, 0], [3, 0]]},
            "metres: three of the four",
            "quadrilateral",
        ),
        (
            {"use": "speed"} | FOUR | {"points": [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]]},
            "points: the edges .* cross",
            "in order",
        ),
        (
            {"use": "speed"} | FOUR | {"metres": [[0, 0], [5, 5], [5, 0], [0, 5]]},
            "metres: .* not in the order of points",
            "order",
        ),
    ],
)
def test_invalid_settings_are_rejected_with_a_hint(table, said, hint):
    with pytest.raises(ConfigProblem, match=said) as caught:
        rules.load_rule(table, CONTEXT)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"use": "zone", "polygon": SQUARE, "color": 1}, "color"),
        ({"use": "zone", "polygon": [[0, 0, 0], [1, 1, 1], [1, 0, 0]]}, "length 2"),
        ({"use": "speed", "limit": 3} | {"points": SQUARE[:3], "metres": SQUARE}, "length 4"),
        ({"use": "dwell", "seconds": 0}, "seconds"),
        ({"use": "crowd", "count": 0}, "count"),
        ({"use": "crossing", "line": [[0, 0], [1, 1]], "direction": "up"}, "direction"),
        ({"use": "zone", "polygon": SQUARE, "inertia": -1}, "inertia"),
    ],
)
def test_type_errors_name_their_key(table, said):
    with pytest.raises(msgspec.ValidationError, match=said):
        rules.load_rule(table, CONTEXT)


@pytest.mark.parametrize("table", [{"use": "zone", "polygon": SQUARE}, {"use": "crowd", "count": 2}])
def test_area_rules_require_boxes(table):
    with pytest.raises(ConfigProblem, match="have no boxes") as caught:
        rules.load_rule(table, msgspec.structs.replace(CONTEXT, has_boxes=False))
    assert "presence" in caught.value.hint


@pytest.mark.parametrize("name", ["left_object", "removed_object"])
def test_rules_about_static_objects_require_no_boxes(name):
    rule = rules.load_rule({"use": name}, msgspec.structs.replace(CONTEXT, has_boxes=False))
    assert rule.name == name


def test_time_going_back_ends_open_events_and_resets_the_rule():
    walker = Walker(((0.0, 0.3, 0.7), (10.0, 0.3, 0.7)))
    for table in ({"use": "zone", "polygon": SQUARE, "update": 0}, {"use": "crowd", "count": 1, "update": 0}):
        rule = rules.load_rule(table, CONTEXT)
        events = []
        for start in (1000.0, 0.0):
            for frame, seen, _ in Scene((walker,), 5.0).film(10):
                tracked = tuple(msgspec.structs.replace(each, track=1) for each in seen)
                early = msgspec.structs.replace(frame, taken=start + frame.number / 10)
                events += rule.observe(early, tracked)
        events += rule.close()
        assert [event.kind for event in events] == ["new", "end", "new", "end"]
        assert [event.taken for event in events[1::2]] == [1005.0, 5.0]
