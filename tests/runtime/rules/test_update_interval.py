"""Updates of an open event on change only: `change` and `alive`."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from scenes import kinds_and_frames

from vedette.runtime.camera.frame import Frame
from vedette.runtime.events.event import SubjectState
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.rules import RuleContext, load_rule
from vedette.runtime.rules.state.update_interval import Reported, has_changed

PIXELS = np.zeros((2, 2, 3), np.uint8)
CONTEXT = RuleContext("door", "m", 0.5, ("person", "car"))
CROWD: dict[str, Any] = {"use": "crowd", "count": 1, "inertia": 0.0, "update": 1.0, "change": 0.1, "alive": 5.0}


def tell(table: dict[str, Any], frames: list[tuple[Prediction, ...]]) -> str:
    """The kinds and frames of the messages at one frame a second."""
    rule = load_rule(table, CONTEXT)
    told = [
        event
        for number, seen in enumerate(frames)
        for event in rule.observe(Frame("door", number, number, PIXELS), seen)
    ]
    return kinds_and_frames([*told, *rule.close()])


def person(left: float = 0.1, score: float = 0.9, track: int | None = 1) -> Prediction:
    return Prediction("person", score, Box(left, 0.1, left + 0.1, 0.5), track)


@pytest.mark.parametrize(
    ("frames", "story"),
    [
        ([(person(),)] * 12, "new@0 update@5 update@10 end@11"),  # only a sign of life
        (
            [(person(0.1 + 0.03 * each),) for each in range(12)],
            "new@0 update@4 update@8 end@11",
        ),  # since the last message
        ([(person(0.1 + 0.06 * each),) for each in range(7)], "new@0 update@2 update@4 update@6 end@6"),
        ([(person(score=0.6 + 0.1 * (each % 2)),) for each in range(6)], "new@0 update@1 end@5"),  # the highest counts
        ([(person(),)] * 3 + [(person(), person(0.5, track=2))] * 3, "new@0 update@3 end@5"),  # one more
        ([(person(),)] * 3 + [(person(track=2),)] * 2, "new@0 update@3 end@4"),  # another one
    ],
)
def test_an_update_comes_if_something_changed_or_as_a_sign_of_life(
    frames: list[tuple[Prediction, ...]], story: str
) -> None:
    assert tell(CROWD, frames) == story


def test_without_change_every_interval_is_told() -> None:
    assert tell(CROWD | {"change": 0}, [(person(),)] * 4) == "new@0 update@1 update@2 update@3 end@3"


def test_a_change_of_zones_is_told_before_the_interval() -> None:
    zones = {"left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], "right": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]}
    table = {"use": "zone", "zones": zones, "inertia": 0.0, "update": 50.0, "change": 1.0}
    assert tell(table, [(person(0.1),), (person(0.2),), (person(0.7),), (person(0.7),)]) == "new@0 update@2 end@3"


def test_presence_tells_changes_only() -> None:
    table = {"use": "presence", "update": 1.0, "change": 0.1, "alive": 4.0}
    assert tell(table, [(person(score=each),) for each in (0.6, 0.6, 0.6, 0.8, 0.7, 0.8, 0.8, 0.8, 0.8)]) == (
        "new@0 update@3 update@7 end@8"
    )


def test_speeds_count_by_the_highest() -> None:
    def at(speed: float, top: float) -> Reported:
        return Reported((person(),), 0.9, SubjectState(speed=speed, top_speed=top))

    assert not has_changed(at(20.0, 20.0), at(12.0, 21.0), 0.1)
    assert has_changed(at(20.0, 20.0), at(23.0, 23.0), 0.1)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"change": 0.1, "update": 0}, "with update = 0 there is none"),
        ({"change": 0.1, "alive": 5.0}, "alive = 5 is shorter than update = 10"),
        ({"change": 1.5}, "change"),
    ],
)
@pytest.mark.parametrize("use", ["presence", "running"])
def test_keys_that_cannot_work_are_refused(use: str, keys: dict[str, Any], text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=text):
        load_rule({"use": use, **keys}, CONTEXT)
