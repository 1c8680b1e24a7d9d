"""The rule `zone`: an object is in a zone. It reports entering, changing to another zone, and leaving.

One event is one object's stay in any of the rule's zones. `counts` holds the number of objects in each zone afterwards.
"""

from __future__ import annotations

from ..errors import ConfigProblem
from . import RuleContext
from .rule_base import AreaRuleSettings
from .track_rule import TrackRule


class ZoneSettings(AreaRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "zone"`."""


class ZoneRule(TrackRule):
    """Reports objects in the zones."""

    Settings = ZoneSettings

    def __init__(self, settings: ZoneSettings, context: RuleContext) -> None:
        if settings.polygon is None and not settings.zones:
            raise ConfigProblem("no polygon", hint="give the zone's corners, as polygon = [[0, 0.5], [1, 0.5], [1, 1]]")
        super().__init__(settings, context)

    def counts(self) -> dict[str, int]:
        return self.tracks.counts()
