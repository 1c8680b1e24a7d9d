"""`intrusion`: who enters a zone, in which direction and when, at several frame rates and with dropped frames."""

from __future__ import annotations

import msgspec
import pytest
from scenes import CONTEXT, FRAME_RATES, SLOW_RATES, Scene, Walker, run_rule, run_rules, within_frames

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.rules import load_rule

ZONE = [[0.4, 0.3], [0.8, 0.3], [0.8, 1.0], [0.4, 1.0]]
ANY = {"use": "intrusion", "polygon": ZONE, "update": 0}
INWARDS = ANY | {"way": [[0.0, 0.5], [1.0, 0.5]], "angle": 45.0}
SCENE = Scene(
    (
        Walker(((0.0, 0.05, 0.6), (8.0, 0.55, 0.6), (12.0, 0.55, 0.6))),  # enters to the right, at 5.6
        Walker(((0.0, 0.98, 0.5), (8.0, 0.55, 0.5), (12.0, 0.55, 0.5))),  # enters to the left, at 3.35
        Walker(((0.0, 0.5, 0.7), (6.0, 0.95, 0.7))),  # inside from the start, and leaves to the right
        Walker(((0.0, 0.7, 0.8), (6.0, 0.15, 0.8))),  # inside from the start, and leaves to the left
        Walker(((0.0, 0.6, 0.9), (12.0, 0.6, 0.9))),  # stands inside from the start
        Walker(((0.0, 0.1, 0.95), (12.0, 0.35, 0.95))),  # stays outside
        Walker(((2.0, 0.3, 0.99), (2.5, 0.41, 0.99), (2.6, 0.41, 0.99), (3.2, 0.2, 0.99)), "car"),  # in for 0.2 s
    ),
    12.0,
    tremble=0.005,
)


@pytest.mark.parametrize(("fps", "dropped"), [*SLOW_RATES, *FRAME_RATES])
def test_who_enters_in_the_direction_is_an_intruder(fps, dropped):
    anyone, inwards = run_rules(SCENE, (ANY, INWARDS), fps, dropped)
    assert {each for each in anyone.story() if each.startswith("new")} == {"new 0", "new 1", "new 2", "new 3", "new 4"}
    assert sorted(inwards.story()) == ["end 0", "end 2", "new 0", "new 2"]
    (event,) = [each for each in inwards.events if each.kind == "new" and inwards.walkers[each.track] == 0]
    assert event.after.zones == ("intrusion",)
    assert 5.5 - 1 / fps <= event.started - 1_700_000_000 <= 5.7 + 4 / fps


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_direction_is_that_of_the_entry_for_the_whole_stay(fps, dropped):
    """Turning round inside, and stepping over the edge for less than the inertia, changes nothing; a second entry is
    judged anew.
    """
    path = ((0.0, 0.2, 0.7), (3.0, 0.6, 0.7), (5.0, 0.41, 0.7), (5.2, 0.39, 0.7), (5.4, 0.41, 0.7), (7.0, 0.7, 0.7))
    path += ((9.0, 0.95, 0.7), (11.0, 0.95, 0.7), (14.0, 0.5, 0.7))
    played = run_rule(Scene((Walker(path),), 14.0), INWARDS, fps, dropped)
    assert played.story() == ["new 0", "end 0"]
    assert within_frames(played.times("new", "started"), [1.5], fps)
    assert 7.8 - 3 / fps <= played.times("end")[0] <= 7.81


def test_creeping_in_is_decided_once_it_has_moved_far_enough():
    creeper = Walker(((0.0, 0.38, 0.7), (40.0, 0.46, 0.7)))
    (started,) = run_rule(Scene((creeper,), 40.0), INWARDS).times("new", "started")
    assert 22.9 <= started <= 24.0, "it is inside after 10 s, and has moved by 0.05 heights, 0.028 widths, 13 s later"


def test_the_schedule_guards_the_zone():
    """Frames begin at 22:13:20 UTC; the hours begin as the first is inside."""
    context = msgspec.structs.replace(CONTEXT, timezone="UTC")
    played = run_rule(SCENE, ANY | {"hours": "22:00-06:00", "days": ["tue"]}, context=context)
    assert "new 0" in played.story()
    assert run_rule(SCENE, ANY | {"hours": "06:00-22:00"}, context=context).story() == []
    assert run_rule(SCENE, ANY | {"days": ["wed"]}, context=context).story() == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"use": "intrusion"}, "no polygon"),
        (INWARDS | {"way": [[0.5, 0.5], [0.5, 0.5]]}, "way: the two points are equal"),
        (INWARDS | {"way": [[0.5, 0.5], [1.5, 0.5]]}, "outside the picture"),
    ],
)
def test_settings_without_sense_are_refused(table, message):
    with pytest.raises(ConfigProblem, match=message):
        load_rule(table, CONTEXT)
