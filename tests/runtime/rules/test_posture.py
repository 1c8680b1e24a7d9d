"""`running`, `lying` and `fall`: scripted people, at several frame rates and with dropped frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scenes import FRAME_RATES, SLOW_RATES, Scene, Walker, run_rule, run_rules

from vedette.runtime.inference.prediction import Box

STANDING, LYING = (0.04, 0.20), (0.11, 0.07)  # of a frame of 16:9: 0.36 and 2.8 times as wide as high


@dataclass(frozen=True)
class Faller(Walker):
    """A walker that is (wide, high) at the time t, for each (t, wide, high)."""

    sizes: tuple[tuple[float, float, float], ...] = ()

    def at(self, when):
        if not self.path[0][0] <= when <= self.path[-1][0]:
            return None
        x, y = (np.interp(when, [each[0] for each in self.path], [each[k] for each in self.path]) for k in (1, 2))
        wide, high = (
            float(np.interp(when, [each[0] for each in self.sizes], [each[k] for each in self.sizes])) for k in (1, 2)
        )
        return Box(float(x) - wide / 2, float(y) - high, float(x) + wide / 2, float(y))


def stay(x, y, *sizes):
    """Somebody who stays at a place, with (moment, wide, high)."""
    return Faller(((0.0, x, y), (14.0, x, y)), sizes=sizes)


def go_down(x, y, start, seconds, rise=None):
    """Somebody who stands, goes down from `start` on in so many seconds, and rises at `rise`."""
    sizes = [(0.0, *STANDING), (start, *STANDING), (start + seconds, *LYING)]
    if rise is not None:
        sizes += [(rise, *LYING), (rise + 1.0, *STANDING)]
    return stay(x, y, *sizes)


PEOPLE = {
    "falls": go_down(0.1, 0.3, 3.0, 0.6, rise=11.0),
    "lies down slowly": go_down(0.3, 0.3, 3.0, 5.0),
    "bends and rises": go_down(0.5, 0.3, 3.0, 0.6, rise=4.2),
    "lies from the start": stay(0.7, 0.3, (0.0, *LYING)),
    "stands": stay(0.9, 0.3, (0.0, *STANDING)),
    "sits down": stay(0.1, 0.6, (0.0, *STANDING), (3.0, *STANDING), (3.6, 0.05, 0.13)),
    "sits with a wide box": stay(0.3, 0.6, (0.0, 0.08, 0.15), (3.0, 0.08, 0.15), (3.6, 0.09, 0.12)),
    "crawls on": Faller(
        ((0.0, 0.1, 0.9), (3.0, 0.1, 0.9), (14.0, 0.9, 0.9)),
        sizes=((0.0, *STANDING), (3.0, *STANDING), (3.6, *LYING)),
    ),
}
NAMES = list(PEOPLE)
SCENE = Scene(tuple(PEOPLE.values()), 14.0, tremble=0.01)


def moments_of(played, name, kind, moment="taken"):
    """When the events of a person came."""
    times = zip([event for event in played.events if event.kind == kind], played.times(kind, moment), strict=True)
    return [when for event, when in times if played.walkers.get(event.track) == NAMES.index(name)]


def told(played):
    """The kinds of event, in order, of each person who has some."""
    found = {}
    for event in played.events:
        found.setdefault(NAMES[played.walkers[event.track]], []).append(event.kind)
    return found


@pytest.mark.parametrize(("fps", "dropped"), [*SLOW_RATES, *FRAME_RATES])
def test_falls_and_lying_are_reported(fps, dropped):
    """A fall is a fall alone; lying is reported however it came, also of who sits with a box that is wide (a limit)."""
    fall, lying = run_rules(SCENE, ({"use": "fall", "update": 0}, {"use": "lying", "update": 0}), fps, dropped)
    assert told(fall) == {"falls": ["new", "end"]}
    ((new,), (end,)) = (moments_of(fall, "falls", kind) for kind in ("new", "end"))
    assert 5.3 <= new <= 6.7 + 2 / fps, "two seconds of lying still, of which the last second must be still"
    assert 11.0 - 3 / fps <= end <= 12.0, "the last frame in which the person lay; some before it are dropped"
    begins = {"falls": 3.3, "lies down slowly": 5.0, "lies from the start": 0.0, "sits with a wide box": 3.3}
    assert told(lying) == {name: ["new", "end"] for name in begins}
    for name, begin in begins.items():
        (new,), (started,) = moments_of(lying, name, "new"), moments_of(lying, name, "new", "started")
        assert new - started >= 5.0 - 1e-3
        assert begin + 5.0 - 1e-3 <= new <= begin + 7.0 + 2 / fps


def test_aspect_is_that_of_pixels():
    """In a frame of 16:9 a box of equal fractions is 1.8 times as wide as high."""
    walker = Walker(((0.0, 0.5, 0.8), (9.0, 0.5, 0.8)), size=(0.15, 0.15))
    assert run_rule(Scene((walker,), 9.0), {"use": "lying", "aspect": 1.7}).story() == ["new 0", "end 0"]
    assert run_rule(Scene((walker,), 9.0), {"use": "lying", "aspect": 1.9}).story() == []


def mover(heights_a_second, y, tall=0.3, start=0.0):
    """Somebody who crosses a frame of 16:9 at so many own heights a second."""
    seconds = 0.8 * 16 / 9 / (heights_a_second * tall)
    return Walker(((start, 0.1, y), (start + seconds, 0.9, y)), size=(0.06, tall))


@pytest.mark.parametrize(("fps", "dropped"), [(3, 0.0), *FRAME_RATES])
def test_only_who_runs_is_reported(fps, dropped):
    walkers = (mover(0.8, 0.6), mover(2.0, 0.95, start=1.0), mover(0.9, 0.3, tall=0.15))
    played = run_rule(Scene(walkers, 7.0, tremble=0.01), {"use": "running"}, fps, dropped)
    assert played.story() == ["new 1", "end 1"]
    assert played.events[-1].after.top_speed == pytest.approx(2.0, rel=0.15)


def test_one_speed_far_and_near():
    """The same person, half as tall, twice as far: as fast in heights."""
    walkers = (mover(2.0, 0.9, tall=0.3), mover(2.0, 0.5, tall=0.15))
    played = run_rule(Scene(walkers, 9.0), {"use": "running"})
    assert sorted(played.story()) == ["end 0", "end 1", "new 0", "new 1"]
    assert [each.after.top_speed for each in played.events if each.kind == "end"] == pytest.approx([2.0, 2.0], rel=0.1)


def test_a_person_at_the_edge_is_not_measured():
    walker = Walker(((0.0, 0.1, 1.1), (3.0, 0.9, 1.1)))
    assert run_rule(Scene((walker,), 3.0), {"use": "running", "limit": 0.5}).story() == []
