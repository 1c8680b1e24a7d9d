"""The rules about places (zone, dwell, crowd) report exactly what happens in scripted scenes."""

from __future__ import annotations

import json

import pytest
from scenes import (
    CONTEXT,
    FRAME_RATES,
    PIXELS,
    START,
    Scene,
    Walker,
    oscillating_path,
    run_rule,
    within_frames,
    without_ids,
)

from vedette.runtime import rules
from vedette.runtime.camera.frame import Frame
from vedette.runtime.clock import Clock
from vedette.runtime.events.cloud_event import encode_cloud_event
from vedette.runtime.inference.prediction import Box, Prediction

YARD = [[0.2, 0.5], [0.5, 0.5], [0.5, 1.0], [0.2, 1.0]]
DOOR = [[0.4, 0.5], [0.7, 0.5], [0.7, 1.0], [0.4, 1.0]]
ZONES = {"use": "zone", "name": "site", "zones": {"yard": YARD, "door": DOOR}}

# One walks through both zones from left to right, one behind them, and a car stays for a while.
THROUGH = Walker(((0.0, 0.04, 0.7), (9.0, 0.94, 0.7)))
BEHIND = Walker(((0.0, 0.94, 0.45), (9.0, 0.04, 0.45)))
STAYS = Walker(((8.03, 0.99, 0.9), (10.53, 0.65, 0.9), (16.03, 0.65, 0.9), (17.53, 0.99, 0.9)), "car")
VISIT = Scene((THROUGH, BEHIND, STAYS), 20.0)


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_entering_and_leaving_is_reported(fps, dropped):
    played = run_rule(VISIT, ZONES, fps, dropped)
    assert played.story("zones", "entered_zones", "counts") == [
        "new 0 yard yard {'yard': 1, 'door': 0}",
        "update 0 yard+door yard+door {'yard': 1, 'door': 1}",
        "update 0 door yard+door {'yard': 0, 'door': 1}",
        "end 0 door yard+door {'yard': 0, 'door': 0}",
        "new 2 door door {'yard': 0, 'door': 1}",
        "end 2 door door {'yard': 0, 'door': 0}",
    ]
    assert within_frames(played.times("new", "started"), [1.6, 10.16], fps)
    assert within_frames([-each for each in played.times("end")], [-6.6, -16.25], fps), "the last frame inside"


@pytest.mark.parametrize(("fps", "dropped"), [(5, 0.2), (30, 0.2)])
@pytest.mark.parametrize(
    "table",
    [ZONES, {"use": "dwell", "polygon": DOOR, "seconds": 4.0}, {"use": "crowd", "polygon": DOOR, "count": 1}],
    ids=lambda each: each["use"],
)
def test_replay_gives_equal_events(table, fps, dropped):
    first, second = (run_rule(VISIT, table, fps, dropped, seed=5) for _ in range(2))
    assert first.events
    assert without_ids(first.events) == without_ids(second.events)


def test_messages_carry_state_before_and_after():
    new, update, *_ = run_rule(VISIT, ZONES).events
    assert (new.before, new.after.zones, new.after.label, new.after.score) == (None, ("yard",), "person", 0.9)
    assert update.before == new.after
    assert update.after.zones == ("yard", "door")
    assert update.after.box == update.predictions[0].box
    assert new.track == update.track == new.predictions[0].track
    assert update.after.seconds == pytest.approx(update.taken - update.started, abs=1e-3)
    written = json.loads(encode_cloud_event(update, "/a", 1, "e", Clock()))["data"]
    assert written["track"] == update.track
    assert written["before"]["zones"] == ["yard"]
    assert written["after"]["entered_zones"] == ["yard", "door"]


def test_top_score_is_that_of_the_whole_stay():
    walker = Walker(((0.0, 0.04, 0.7), (9.0, 0.94, 0.7)), score=0.8)
    new, *_, end = run_rule(Scene((walker,), 12.0), ZONES).events
    assert (new.top_score, end.top_score) == (0.8, 0.8)


@pytest.mark.parametrize(
    ("table", "story"),
    [
        ({"labels": ["car"]}, ["new 2", "end 2"]),
        ({"min_score": 0.95}, []),
        ({"labels": ["car"], "update": 2.0}, ["new 2", "update 2", "update 2", "end 2"]),
        ({"zones": {}, "polygon": [[0.75, 0.6], [1, 0.6], [0.95, 0.8]]}, ["new 0", "end 0"]),
    ],
)
def test_labels_and_scores_are_filtered(table, story):
    assert run_rule(VISIT, ZONES | table).story() == story


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_oscillation_on_the_edge_is_one_event(fps, dropped):
    path = ((0.0, 0.05, 0.7), *oscillating_path(2.0, 4.0, 0.2, 0.004), (7.0, 0.3, 0.7), (9.0, 0.3, 0.7))
    path += (*oscillating_path(11.0, 4.0, 0.2, 0.004), (16.0, 0.05, 0.7), (18.0, 0.05, 0.7))
    table = {"use": "zone", "polygon": YARD, "inertia": 1.0}
    assert run_rule(Scene((Walker(path),), 18.0, tremble=0.02), table, fps, dropped).story() == ["new 0", "end 0"]


def test_zero_inertia_follows_every_frame():
    path = ((0.0, 0.05, 0.7), *oscillating_path(2.0, 4.0, 0.2, 0.004), (7.0, 0.3, 0.7))
    table = {"use": "zone", "polygon": YARD, "inertia": 0}
    assert len(run_rule(Scene((Walker(path),), 7.0), table, 30).events) > 10


PILLAR = Box(0.28, 0.0, 0.42, 1.0)


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_short_occlusion_does_not_end_the_event(fps, dropped):
    walker = Walker(((0.0, 0.05, 0.7), (4.0, 0.45, 0.7), (5.0, 0.45, 0.7), (9.0, 0.9, 0.7)))
    played = run_rule(Scene((walker,), 10.0, (PILLAR,)), {"use": "zone", "polygon": YARD, "update": 0}, fps, dropped)
    assert played.story() == ["new 0", "end 0"]


def test_event_ends_at_the_last_frame_with_the_object():
    walker = Walker(((0.0, 0.6, 0.7), (4.0, 0.3, 0.7)))
    played = run_rule(Scene((walker,), 10.0), {"use": "zone", "polygon": YARD})
    assert played.story() == ["new 0", "end 0"]
    assert played.times("end") == [4.0]


# Dwelling


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
@pytest.mark.parametrize(
    ("path", "story", "started"),
    [
        (((0, 0.1, 0.7), (2, 0.3, 0.7), (9, 0.3, 0.7), (11, 0.1, 0.7)), ["new 0", "end 0"], [1.0]),
        (((0, 0.1, 0.7), (2, 0.3, 0.7), (4, 0.3, 0.7), (6, 0.1, 0.7)), [], []),  # 4 s: too short
        # leaves for less than the inertia: the time continues
        (
            ((0, 0.1, 0.7), (2, 0.3, 0.7), (3, 0.21, 0.7), (3.2, 0.19, 0.7), (3.4, 0.21, 0.7), (8, 0.3, 0.7)),
            ["new 0", "end 0"],
            [1.0],
        ),
        # leaves for 2 s: the time restarts, at 5.3
        (
            (
                (0, 0.1, 0.7),
                (2, 0.3, 0.7),
                (3, 0.21, 0.7),
                (3.3, 0.18, 0.7),
                (5, 0.18, 0.7),
                (5.3, 0.21, 0.7),
                (12, 0.3, 0.7),
            ),
            ["new 0", "end 0"],
            [5.2],
        ),
    ],
    ids=["stays", "passes", "steps out", "comes back"],
)
def test_dwelling_is_reported(path, story, started, fps, dropped):
    table = {"use": "dwell", "polygon": YARD, "seconds": 5.0}
    played = run_rule(Scene((Walker(path),), 15.0), table, fps, dropped)
    assert played.story() == story
    assert within_frames(played.times("new", "started"), started, fps)
    assert within_frames(played.times("new"), [each + 5.0 for each in started], fps)


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_short_occlusion_does_not_restart_the_dwell_time(fps, dropped):
    loiterer = Walker(((0, 0.05, 0.7), (2, 0.35, 0.7), (12, 0.35, 0.7), (14, 0.0, 0.7)))
    passes = Walker(((3, 0.1, 0.8), (6, 0.6, 0.8)), "car", (0.2, 0.5))
    scene = Scene((loiterer, passes), 16.0)
    table = {"use": "dwell", "polygon": YARD, "seconds": 8.0, "labels": ["person"]}
    played = run_rule(scene, table, fps, dropped)
    assert played.story() == ["new 0", "end 0"]
    assert within_frames(played.times("new"), [9.0], fps)


# Crowds


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_crowd_is_reported_while_it_lasts(fps, dropped):
    """Three people in the yard from 3.0 to 8.0. One is hidden for 0.3 s, which does not end the event; two are no
    crowd.
    """
    walkers = (
        Walker(((0, 0.1, 0.7), (2, 0.3, 0.7), (14, 0.3, 0.7))),
        Walker(((0, 0.0, 0.8), (3, 0.22, 0.8), (4, 0.4, 0.8), (14, 0.4, 0.8))),
        Walker(((0, 0.6, 0.9), (2, 0.49, 0.9), (7, 0.49, 0.9), (9, 0.6, 0.9), (14, 0.6, 0.9))),
        Walker(((4, 0.8, 0.95), (4.9, 0.6, 0.95), (5.2, 0.4, 0.95), (5.6, 0.1, 0.95)), "car", (0.12, 0.5)),
    )
    table = {"use": "crowd", "polygon": YARD, "count": 3, "labels": ["person"], "name": "many"}
    played = run_rule(Scene(walkers, 14.0), table, fps, dropped)
    assert played.story("counts") == ["new - {'many': 3}", "end - {'many': 2}"]
    assert within_frames(played.times("new", "started"), [2.73], fps)
    new, end = played.events
    assert len(new.predictions) == 3
    assert new.track is None
    assert 6.5 < end.taken - 1_700_000_000 <= 7.2


def test_score_must_reach_min_score_only_once():
    """A high score for a second, low scores for five: one stay. An object that stays below min_score is not
    reported.
    """
    for scores, story in (([0.9] * 10 + [0.3] * 50, ["new", "end"]), ([0.4] * 60, [])):
        rule = rules.load_rule({"use": "zone", "polygon": YARD, "update": 0}, CONTEXT)
        events = []
        for number, score in enumerate(scores):
            seen = (Prediction("person", score, Box(0.3, 0.4, 0.4, 0.7), track=1),)
            events += rule.observe(Frame("door", number, START + number / 10, PIXELS), seen)
        events += rule.close()
        assert [event.kind for event in events] == story
        assert not events or events[-1].frame == 59
