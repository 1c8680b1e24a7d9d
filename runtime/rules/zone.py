"""Something is in a zone: a message when it enters, when it goes on to another, and when it leaves.

One event is one thing's stay in any of the rule's zones. `counts` tells how many are in each after the change.
"""

from __future__ import annotations

from ..camera.frame import Frame
from ..errors import ConfigProblem
from ..events.event import State
from . import Context
from .rule_base import AreaSettings
from .state.track_state import Thing
from .track_rule import Watch, place


class ZoneSettings(AreaSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "zone"`."""


class Zone(Watch):
    """The rule; see above."""

    Settings = ZoneSettings

    def __init__(self, settings: ZoneSettings, context: Context) -> None:
        if settings.polygon is None and not settings.zones:
            raise ConfigProblem("no polygon", hint="give the zone's corners, as polygon = [[0, 0.5], [1, 0.5], [1, 1]]")
        super().__init__(settings, context)

    def judge(self, frame: Frame, thing: Thing) -> State | None:
        return place(thing) if thing.inside else None

    def counts(self) -> dict[str, int]:
        return self.things.counts()
