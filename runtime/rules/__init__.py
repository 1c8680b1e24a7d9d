"""Rules: they turn predictions into events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from ..camera.frame import Frame
from ..events.event import Event
from ..inference.prediction import Prediction
from ..plugin_tables import load_plugin
from .open_event import OpenEvent

RULES = {
    "crossing": ".crossing:CrossingRule",
    "crowd": ".crowd:CrowdRule",
    "dwell": ".dwell:DwellRule",
    "fall": ".fall:FallRule",
    "intrusion": ".intrusion:IntrusionRule",
    "left_object": ".static_object:LeftObjectRule",
    "lying": ".lying:LyingRule",
    "presence": ".presence:PresenceRule",
    "queue": ".queue:QueueRule",
    "removed_object": ".static_object:RemovedObjectRule",
    "running": ".running:RunningRule",
    "speed": ".speed:SpeedRule",
    "tailgate": ".tailgate:TailgateRule",
    "wrong_way": ".wrong_way:WrongWayRule",
    "zone": ".zone:ZoneRule",
}


class RuleContext(msgspec.Struct, frozen=True):
    """Facts about the camera and the bundle that every rule receives."""

    camera: str
    model: str
    """The bundle's `model_id`."""
    threshold: float
    """The bundle's threshold: the default of a rule that sets none."""
    labels: tuple[str, ...]
    """All labels that the bundle's predictions can have."""
    normal_labels: tuple[str, ...] = ()
    """Labels that cause no event unless a rule names them."""
    has_boxes: bool = True
    """True if predictions can have a bounding box."""
    timezone: str = ""
    """Time zone of hours and days, for example `Europe/Berlin`; empty: the machine's."""
    max_lost_seconds: float = 2.0
    """Seconds for which the tracker keeps a track without detections."""


class Rule(Protocol):
    """A rule of one camera. It decides by the moments of the frames, never by the wall clock, so a recording always
    gives equal events. Only a schedule uses the wall time.
    """

    name: str
    needs_tracks: bool
    """True if its predictions must carry track numbers."""

    def observe(self, frame: Frame, predictions: tuple[Prediction, ...]) -> Iterable[Event]:
        """The events that this frame causes."""

    def close(self) -> Iterable[Event]:
        """The events that the end of the stream causes."""

    def open_events(self) -> Iterable[OpenEvent]:
        """The events that are open after the last frame, each with its reason."""


def load_rule(table: dict[str, Any], context: RuleContext) -> Rule:
    """Makes the rule that a `[[rules]]` table describes.

    Raises:
        ConfigProblem: `use` names no rule, or a setting does not fit the bundle.
        msgspec.ValidationError: a key of the table is unknown or has the wrong type.
    """
    rule_class = load_plugin(__package__, RULES, table.get("use", ""), "use")
    settings = msgspec.convert(table, rule_class.Settings)
    rule: Rule = rule_class(settings, context)
    return rule
