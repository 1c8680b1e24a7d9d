"""`tailgate`: who crosses a line too soon after another, at several frame rates and with dropped frames."""

from __future__ import annotations

import pytest
from scenes import FRAME_RATES, Scene, Walker, run_rule, without_ids

LINE = {"use": "tailgate", "line": [[0.5, 0.0], [0.5, 1.0]], "seconds": 2.0}


def pass_line(when, y, back=False, speed=0.2, label="person"):
    """Somebody who crosses the middle at a moment, to the right of the frame or back."""
    start, end = (0.95, 0.05) if back else (0.05, 0.95)
    half = 0.45 / speed
    return Walker(((when - half, start, y), (when + half, end, y)), label, (0.05, 0.2))


SCENE = Scene(
    (
        pass_line(3.0, 0.5),
        pass_line(4.3, 0.8),  # 1.3 s after the first: follows
        pass_line(5.0, 0.3, back=True),  # the other way
        pass_line(7.5, 0.5),  # 3.2 s after the one before
        pass_line(10.0, 0.8, back=True),
        pass_line(11.0, 0.5, back=True),  # follows
        pass_line(12.0, 0.25, back=True),  # follows the one who follows
        pass_line(15.0, 0.5),
        pass_line(15.0, 0.8),  # side by side: one of them follows
    ),
    18.0,
)


@pytest.mark.parametrize(("fps", "dropped"), [(3, 0.0), *FRAME_RATES])
def test_who_follows_too_soon_is_reported(fps, dropped):
    played = run_rule(SCENE, LINE, fps, dropped)
    story = played.story("direction")
    assert story[:6] == ["new 1 left", "end 1 left", "new 5 right", "end 5 right", "new 6 right", "end 6 right"]
    assert len(story) == 8
    assert story[6] in ("new 7 left", "new 8 left")
    gaps = [event.after.seconds for event in played.events if event.kind == "new"]
    assert gaps == pytest.approx([1.3, 1.0, 1.0, 0.0], abs=3 / fps)
    assert played.events[-1].after.counts == {"left": 2, "right": 2}


def test_only_the_configured_direction_counts():
    assert run_rule(SCENE, LINE | {"direction": "left", "seconds": 1.5}).story()[:2] == ["new 1", "end 1"]
    assert len(run_rule(SCENE, LINE | {"direction": "left", "seconds": 1.5}).story()) == 4
    assert len(run_rule(SCENE, LINE | {"seconds": 0.5}).story()) == 2
    assert len(run_rule(SCENE, LINE | {"seconds": 3.5}).story()) == 10, "the one of 7.5 s, too"


def test_one_object_that_goes_to_and_fro_follows_nobody():
    path = ((0.0, 0.1, 0.7), (2.0, 0.6, 0.7), (4.0, 0.4, 0.7), (6.0, 0.6, 0.7), (8.0, 0.9, 0.7))
    assert run_rule(Scene((Walker(path),), 8.0), LINE | {"seconds": 1.5}).story() == []


def test_replay_gives_equal_events():
    first, second = (run_rule(SCENE, LINE, 10, 0.2, seed=5) for _ in range(2))
    assert first.events
    assert without_ids(first.events) == without_ids(second.events)
