"""`queue`: how many wait for how long in a zone, at several frame rates and with dropped frames."""

from __future__ import annotations

import pytest
from scenes import FRAME_RATES, SLOW_RATES, Scene, Walker, run_rule, within_frames

from vedette.runtime.inference.prediction import Box

ZONE = [[0.3, 0.3], [0.9, 0.3], [0.9, 1.0], [0.3, 1.0]]
TABLE = {"use": "queue", "polygon": ZONE, "count": 3, "seconds": 4.0, "update": 0, "labels": ["person"]}


def waiter(x, comes, leaves, y=0.7):
    """Somebody who comes to x, in the zone at `comes`, and leaves it downwards at `leaves`."""
    speed = 0.08
    return Walker(
        ((comes - 1.0, 0.3 - speed, y), (comes + (x - 0.3) / speed, x, y), (leaves, x, y), (leaves + 0.4, x, 1.4))
    )


# The zone's edge is at 0.3: they are in from 2, 5 and 8 on, so three wait from 12 to 16.
PEOPLE = (waiter(0.75, 2.0, 16.0), waiter(0.6, 5.0, 22.0), waiter(0.45, 8.0, 22.0))
PASSING = (Walker(((3.0, 0.05, 0.9), (12.0, 0.99, 0.9))), Walker(((9.0, 0.99, 0.5), (18.0, 0.05, 0.5)), "car"))


@pytest.mark.parametrize(("fps", "dropped"), [*SLOW_RATES, *FRAME_RATES])
def test_a_queue_is_reported_while_it_is_too_long(fps, dropped):
    played = run_rule(Scene((*PEOPLE, *PASSING[1:]), 22.0), TABLE, fps, dropped)
    assert played.story("counts") == ["new - {'queue': 3}", "end - {'queue': 2}"]
    assert within_frames(played.times("new", "started"), [12.0], fps)
    new, end = played.events
    assert len(new.predictions) == 3
    assert new.track is None
    assert 16.0 - 3 / fps <= end.taken - 1_700_000_000 <= 16.3 + 2.0 + 1 / fps, "at most the tracker's `keep` later"


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_who_walks_through_does_not_wait(fps, dropped):
    """It takes 5.7 s, and 7 are asked for."""
    scene = Scene((*PEOPLE[:2], PASSING[0]), 20.0)
    assert run_rule(scene, TABLE | {"seconds": 7.0}, fps, dropped).story() == []
    assert run_rule(scene, TABLE | {"seconds": 7.0, "count": 2}, fps, dropped).story() == ["new -", "end -"]


def test_short_occlusion_does_not_end_the_queue():
    """Somebody who passes before the queue hides one after the other, for a second each."""
    passer = Walker(((13.0, 1.0, 0.85), (17.0, 0.1, 0.85)), "car", (0.2, 0.6))
    people = tuple(waiter(x, comes, 22.0) for x, comes in ((0.75, 2.0), (0.6, 5.0), (0.45, 8.0)))
    assert run_rule(Scene((*people, passer), 22.0), TABLE).story() == ["new -", "end -"]
    screen = Box(0.38, 0.0, 0.52, 1.0)
    assert run_rule(Scene(people, 22.0, (screen,)), TABLE).story() == [], "one who is never seen waiting does not count"


def test_each_zone_has_its_own_queue():
    zones = {
        "left": [[0.3, 0.3], [0.52, 0.3], [0.52, 1], [0.3, 1]],
        "right": [[0.52, 0.3], [0.9, 0.3], [0.9, 1], [0.52, 1]],
    }
    table = {each: value for each, value in TABLE.items() if each != "polygon"} | {"zones": zones, "count": 2}
    played = run_rule(Scene(PEOPLE, 22.0), table)
    assert played.story("zones") == ["new - right", "end - right"]
    assert played.events[0].after.counts == {"left": 1, "right": 2}
