"""The rules about movement (crossing, wrong_way, speed) report exactly what happens in scripted scenes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scenes import FRAME_RATES, START, Scene, Walker, oscillating_path, run_rule, within_frames, without_ids

from vedette.runtime.inference.prediction import Box
from vedette.runtime.rules.crossing import count_net_crossings, distance_to_line

# Down the middle of the lower half: seen along the line, the left of the frame is on the right.
LINE = {"use": "crossing", "line": [[0.5, 0.4], [0.5, 1.0]]}


SCENE = Scene(
    (
        Walker(((0.0, 0.1, 0.6), (4.0, 0.9, 0.6))),  # from the left of the frame: to the left of the line
        Walker(((6.0, 0.9, 0.7), (10.0, 0.1, 0.7))),
        Walker(((1.0, 0.1, 0.35), (9.0, 0.9, 0.35))),  # past the line's end
        Walker(((11.0, 0.1, 0.9), (15.0, 0.47, 0.9), (19.0, 0.1, 0.9))),  # up to it and back
        Walker(((20.0, 0.1, 0.8), (22.0, 0.52, 0.8), (22.2, 0.52, 0.8), (24.0, 0.1, 0.8))),  # over it and back at once
        Walker(
            ((12.0, 0.1, 0.55), (16.0, 0.6, 0.55), (18.0, 0.6, 0.35), (22.0, 0.1, 0.35))
        ),  # over it, and back round it
    ),
    26.0,
)


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_crossing_is_reported(fps, dropped):
    played = run_rule(SCENE, LINE, fps, dropped)
    assert played.story("direction", "counts") == [
        "new 0 left {'left': 1, 'right': 0}",
        "end 0 left {'left': 1, 'right': 0}",
        "new 1 right {'left': 1, 'right': 1}",
        "end 1 right {'left': 1, 'right': 1}",
        "new 5 left {'left': 2, 'right': 1}",
        "end 5 left {'left': 2, 'right': 1}",
    ]
    assert within_frames(played.times("new", "started"), [2.05, 8.05, 15.28], fps)
    for new, end in zip(played.events[::2], played.events[1::2], strict=True):
        assert (new.event, new.taken) == (end.event, end.taken), "one moment"


@pytest.mark.parametrize(
    ("direction", "story"), [("left", ["new 0", "end 0", "new 5", "end 5"]), ("right", ["new 1", "end 1"])]
)
def test_only_the_configured_direction_counts(direction, story):
    assert run_rule(SCENE, LINE | {"direction": direction}).story() == story


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
@pytest.mark.parametrize(("end", "crossed"), [(0.8, ["new 0", "end 0"]), (0.2, [])])
def test_object_that_oscillates_on_the_line_crosses_at_most_once(end, crossed, fps, dropped):
    path = ((0.0, 0.1, 0.7), *oscillating_path(3.0, 5.0, 0.5, 0.02), (10.0, end, 0.7), (12.0, end, 0.7))
    assert run_rule(Scene((Walker(path),), 12.0, tremble=0.02), LINE, fps, dropped).story() == crossed


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_crossing_while_occluded_is_reported(fps, dropped):
    walker = Walker(((0.0, 0.1, 0.7), (4.0, 0.9, 0.7)))
    played = run_rule(Scene((walker,), 5.0, (Box(0.42, 0, 0.58, 1),)), LINE, fps, dropped)
    assert played.story("direction") == ["new 0 left", "end 0 left"]


def test_track_that_ends_beyond_the_line_has_crossed():
    walker = Walker(((0.0, 0.1, 0.7), (4.0, 0.53, 0.7)))
    played = run_rule(Scene((walker,), 10.0), LINE | {"inertia": 1.0})
    assert played.story() == ["new 0", "end 0"]
    assert played.times("end") == [4.0]


UNIT = st.floats(0, 1)
POINT = st.tuples(UNIT, UNIT)


@settings(max_examples=300, deadline=None)
@given(st.lists(POINT, min_size=2, max_size=8), st.lists(POINT, min_size=2, max_size=5))
def test_reversed_path_crosses_the_line_in_reverse(path, line):
    there = sum(count_net_crossings(a, b, line) for a, b in pairwise(path))
    back = path[::-1]
    assert sum(count_net_crossings(a, b, line) for a, b in pairwise(back)) == -there


@settings(max_examples=300, deadline=None)
@given(st.lists(POINT, min_size=3, max_size=8), POINT, POINT)
def test_closed_path_has_no_net_crossing(path, start, end):
    """A line far beyond the frame has two sides, and a closed path ends on the side where it started."""
    (x, y), (dx, dy) = start, (end[0] - start[0], end[1] - start[1])
    assume(np.hypot(dx, dy) > 0.01)
    line = ((x - 1000 * dx, y - 1000 * dy), (x + 1000 * dx, y + 1000 * dy))
    assume(min(distance_to_line(each, line) for each in path) > 1e-9)  # no point lies exactly on it
    closed = [*path, path[0]]
    assert sum(count_net_crossings(a, b, line) for a, b in pairwise(closed)) == 0


# The wrong way


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_wrong_way_is_reported(fps, dropped):
    walkers = (
        Walker(((0.0, 0.1, 0.7), (6.0, 0.9, 0.7))),  # right
        Walker(((2.0, 0.9, 0.9), (6.0, 0.3, 0.9), (9.0, 0.3, 0.9))),  # wrong, then stands
        Walker(((0.0, 0.2, 0.5), (9.0, 0.2, 0.5))),  # stands still
        Walker(((10.0, 0.5, 0.4), (14.0, 0.5, 0.99))),  # across the way
    )
    table = {"use": "wrong_way", "way": [[0.0, 0.5], [1.0, 0.5]]}
    played = run_rule(Scene(walkers, 15.0, tremble=0.01), table, fps, dropped)
    assert played.story() == ["new 1", "end 1"]
    assert within_frames(played.times("new", "started"), [2.2], fps)
    (end,) = played.times("end")
    assert 6.0 <= end <= 7.0, "no longer than the window after it stopped"


def test_angle_respects_the_aspect_ratio():
    """In a frame of 16:9, equal fractions up and to the left are a direction 29 degrees off the left."""
    walker = Walker(((0.0, 0.8, 0.9), (3.0, 0.4, 0.5)))
    table = {"use": "wrong_way", "way": [[0.0, 0.5], [1.0, 0.5]]}
    assert run_rule(Scene((walker,), 3.0), table | {"angle": 32}).story() == ["new 0", "end 0"]
    assert run_rule(Scene((walker,), 3.0), table | {"angle": 26}).story() == []


# Speed

POINTS = [[0.35, 0.4], [0.65, 0.4], [0.95, 0.95], [0.05, 0.95]]
METRES = [[0, 30], [6, 30], [6, 0], [0, 0]]


def ground_to_frame(x, y):
    """Position in the frame of a point on the ground, by the homography from the four point pairs."""
    rows = []
    for (mx, my), (px, py) in zip(METRES, POINTS, strict=True):
        rows.append([mx, my, 1, 0, 0, 0, -px * mx, -px * my, px])
        rows.append([0, 0, 0, mx, my, 1, -py * mx, -py * my, py])
    system = np.array(rows, float)
    map_ = np.append(np.linalg.solve(system[:, :8], system[:, 8]), 1).reshape(3, 3)
    u, v, w = map_ @ (x, y, 1)
    return u / w, v / w


def driving_car(start, end, begin, metres_a_second, **more):
    """A car that drives in a straight line over the ground."""
    start, end = np.array(start, float), np.array(end, float)
    seconds = np.hypot(*(end - start)) / metres_a_second
    path = [
        (begin + share * seconds, *ground_to_frame(*(start + share * (end - start)))) for share in np.linspace(0, 1, 60)
    ]
    return Walker(tuple(path), "car", (0.06, 0.08), **more)


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_measured_speeds_match_ground_truth(fps, dropped):
    """Near or far, along or across: the true speed within 3 %."""
    for start, end, speed in [
        ((3, 28), (3, 2), 8.0),
        ((1, 2), (5, 26), 12.0),
        ((0.3, 5), (5.7, 5), 2.0),
        ((0.3, 25), (5.7, 25), 2.0),
    ]:
        table = {"use": "speed", "points": POINTS, "metres": METRES, "limit": 0, "unit": "m/s"}
        played = run_rule(Scene((driving_car(start, end, 0.0, speed),), 5.0), table, fps, dropped)
        assert played.story() == ["new 0", "end 0"]
        for event in played.events:
            assert event.after.speed == pytest.approx(speed, rel=0.03)
            assert event.after.top_speed == pytest.approx(speed, rel=0.03)


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_speeding_is_reported(fps, dropped):
    walkers = (
        driving_car((1, 28), (1, 2), 0.0, 7.0),
        driving_car((4, 28), (4, 2), 5.0, 10.0),
        driving_car((3, 2), (3, 28), 10.0, 7.0),
    )
    table = {"use": "speed", "points": POINTS, "metres": METRES, "limit": 30.0, "inertia": 0.3}
    played = run_rule(Scene(walkers, 16.0, tremble=0.01), table, fps, dropped)
    assert played.story() == ["new 1", "end 1"]
    assert played.events[-1].after.top_speed == pytest.approx(36.0, rel=0.15)


def test_speed_limit_has_hysteresis():
    """Limit 30 km/h, end below 27: 28.8 alone is not reported; after 36 the event lasts until the slow end."""
    table = {"use": "speed", "points": POINTS, "metres": METRES, "limit": 30.0, "inertia": 0.3}
    nearly = driving_car((3, 29), (3, 1), 0.0, 8.0)
    assert run_rule(Scene((nearly,), 6.0), table).story() == []
    legs = [((3, 29), (3, 19), 10.0), ((3, 19), (3, 5), 8.0), ((3, 5), (3, 1), 3.0)]
    path, begin = [], 0.0
    for start, end, speed in legs:
        leg = driving_car(start, end, begin, speed).path
        path, begin = [*path, *leg[bool(path) :]], leg[-1][0]
    played = run_rule(Scene((Walker(tuple(path), "car", (0.06, 0.08)),), 8.0), table)
    assert played.story() == ["new 0", "end 0"]
    assert 2.6 <= played.times("end")[0] <= 3.3


def test_speed_units():
    walker = driving_car((3, 28), (3, 2), 0.0, 10.0)
    for unit, speed in [("m/s", 10), ("km/h", 36), ("mph", 22.37)]:
        table = {"use": "speed", "points": POINTS, "metres": METRES, "limit": 1.0, "unit": unit}
        assert run_rule(Scene((walker,), 4.0), table).events[0].after.speed == pytest.approx(speed, rel=0.02)


SPEED = {"use": "speed", "points": POINTS, "metres": METRES, "limit": 0}
WRONG = {"use": "wrong_way", "way": [[0.0, 0.5], [1.0, 0.5]]}


@pytest.mark.parametrize("table", [LINE, WRONG, SPEED], ids=lambda each: each["use"])
def test_replay_gives_equal_events(table):
    first, second = (run_rule(SCENE, table, 10, 0.2, seed=5) for _ in range(2))
    assert first.events
    assert without_ids(first.events) == without_ids(second.events)
    assert all(START <= event.taken <= START + SCENE.seconds for event in first.events)
