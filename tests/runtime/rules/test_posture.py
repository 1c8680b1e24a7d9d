"""`running`, `lying` and `fall`: scripted people, at several frame rates and with dropped frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scenes import FRAME_RATES, Scene, Walker, run_rule

from vedette.runtime.inference.prediction import Box

STANDING, LYING = (0.06, 0.30), (0.17, 0.107)  # of a frame of 16:9: 0.36 and 2.8 times as wide as high


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


def go_down(start, seconds, x=0.5, y=0.8, until=14.0, rise=None):
    """Somebody who stands, goes down from `start` on in so many seconds, and rises at `rise`."""
    sizes = [(0.0, *STANDING), (start, *STANDING), (start + seconds, *LYING)]
    if rise is not None:
        sizes += [(rise, *LYING), (rise + 1.0, *STANDING)]
    return Faller(((0.0, x, y), (until, x, y)), sizes=tuple(sizes))


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_fall_is_reported_once_and_ends_when_the_person_rises(fps, dropped):
    scene = Scene((go_down(3.0, 0.6, rise=9.0),), 14.0, tremble=0.01)
    played = run_rule(scene, {"use": "fall"}, fps, dropped)
    assert played.story() == ["new 0", "end 0"]
    ((new,), (end,)) = played.times("new"), played.times("end")
    assert 5.3 <= new <= 7.0, "two seconds of lying still after the fall, of which the last second must be still"
    assert 9.0 <= end <= 10.0


QUIET = {
    "lies down slowly": go_down(3.0, 5.0),
    "bends and rises": go_down(3.0, 0.6, rise=4.2),
    "lies from the start": Faller(((0.0, 0.5, 0.8), (14.0, 0.5, 0.8)), sizes=((0.0, *LYING),)),
    "stands": go_down(99.0, 1.0),
    "sits down": Faller(
        ((0.0, 0.5, 0.8), (14.0, 0.5, 0.8)), sizes=((0.0, *STANDING), (3.0, *STANDING), (3.6, 0.08, 0.2))
    ),
    "goes on moving": Faller(
        ((0.0, 0.2, 0.8), (3.0, 0.2, 0.8), (14.0, 0.9, 0.8)),
        sizes=((0.0, *STANDING), (3.0, *STANDING), (3.6, *LYING)),
    ),
}


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
@pytest.mark.parametrize("name", QUIET)
def test_what_is_no_fall_is_not_reported(name, fps, dropped):
    assert run_rule(Scene((QUIET[name],), 14.0, tremble=0.01), {"use": "fall"}, fps, dropped).story() == []


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
@pytest.mark.parametrize(
    ("name", "begins"), [("lies down slowly", 5.0), ("lies from the start", 0.0), ("stands", None), ("sits down", None)]
)
def test_lying_is_reported_however_it_came(name, begins, fps, dropped):
    played = run_rule(Scene((QUIET[name],), 14.0, tremble=0.01), {"use": "lying", "update": 0}, fps, dropped)
    assert played.story() == ([] if begins is None else ["new 0", "end 0"])
    if begins is not None:
        (new,) = played.times("new")
        assert new - played.times("new", "started")[0] >= 5.0 - 1e-3
        assert begins + 5.0 - 1e-3 <= new <= begins + 8.5


def test_aspect_is_that_of_pixels():
    """In a frame of 16:9 a box of equal fractions is 1.8 times as wide as high."""
    walker = Walker(((0.0, 0.5, 0.8), (9.0, 0.5, 0.8)), size=(0.15, 0.15))
    assert run_rule(Scene((walker,), 9.0), {"use": "lying", "aspect": 1.7}).story() == ["new 0", "end 0"]
    assert run_rule(Scene((walker,), 9.0), {"use": "lying", "aspect": 1.9}).story() == []


def mover(heights_a_second, y, tall=0.3, start=0.0):
    """Somebody who crosses a frame of 16:9 at so many own heights a second."""
    seconds = 0.8 * 16 / 9 / (heights_a_second * tall)
    return Walker(((start, 0.1, y), (start + seconds, 0.9, y)), size=(0.06, tall))


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
def test_only_who_runs_is_reported(fps, dropped):
    walkers = (mover(0.8, 0.6), mover(2.0, 0.95, start=1.0), mover(0.9, 0.3, tall=0.15))
    played = run_rule(Scene(walkers, 12.0, tremble=0.01), {"use": "running"}, fps, dropped)
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
