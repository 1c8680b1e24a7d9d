"""Predictions -> events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from ..camera.frame import Frame
from ..events.event import Event
from ..inference.prediction import Prediction
from ..plugins import choose

RULES = {
    "crossing": ".crossing:Crossing",
    "crowd": ".crowd:Crowd",
    "dwell": ".dwell:Dwell",
    "left_object": ".static_object:LeftObject",
    "presence": ".presence:Presence",
    "removed_object": ".static_object:RemovedObject",
    "speed": ".speed:Speed",
    "wrong_way": ".wrong_way:WrongWay",
    "zone": ".zone:Zone",
}


class Context(msgspec.Struct, frozen=True):
    """What every rule knows about where it runs."""

    camera: str
    model: str
    """The bundle's `model_id`."""
    threshold: float
    """The bundle's; what a rule takes where its own is not set."""
    labels: tuple[str, ...]
    """What the bundle's predictions may be called."""
    quiet: tuple[str, ...] = ()
    """Those of them that are no reason for an event unless a rule names them."""
    boxes: bool = True
    """Whether its predictions may say where in the picture they are."""
    timezone: str = ""
    """Of hours and days, as `Europe/Berlin`; empty: the machine's."""
    keep: float = 2.0
    """Seconds for which the tracker waits for what nobody sees."""


class Rule(Protocol):
    """Decides by what it is shown alone, never by the clock: a recording replays exactly."""

    name: str
    follows: bool
    """Whether it needs the tracks of what is seen."""

    def observe(self, frame: Frame, seen: tuple[Prediction, ...]) -> Iterable[Event]:
        """The changes that this frame brings."""

    def close(self) -> Iterable[Event]:
        """The changes that the end of the stream brings."""


def load(table: dict[str, Any], context: Context) -> Rule:
    """The rule that one `[[rules]]` table describes.

    Raises:
        ConfigProblem: `use` names no rule, or a setting does not suit the bundle.
        msgspec.ValidationError: a key of the table is unknown or has the wrong type.
    """
    part = choose(__package__, RULES, table.get("use", ""), "use")
    settings = msgspec.convert(table, part.Settings)
    rule: Rule = part(settings, context)
    return rule
