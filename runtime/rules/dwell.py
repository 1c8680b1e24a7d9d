"""The rule `dwell`: an object stays in a zone for too long, such as a loiterer or a car that blocks the gate.

The seconds count from the first frame inside. They go on if the object leaves for less than `inertia`, or is hidden for
less than the tracker's `keep`; otherwise they start again.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..events.event import Quantity
from . import RuleContext
from .rule_base import AreaRuleSettings
from .state.event_lifecycle import EventLifecycle
from .track_rule import TrackRule


class DwellSettings(AreaRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "dwell"`."""

    seconds: Annotated[float, msgspec.Meta(gt=0)]
    """Seconds from which a stay is reported."""


class DwellRule(TrackRule):
    """Reports objects that stay in the area for `seconds`."""

    Settings = DwellSettings

    def __init__(self, settings: DwellSettings, context: RuleContext) -> None:
        super().__init__(settings, context, min_seconds=settings.seconds)

    def measure(self, opened: EventLifecycle) -> tuple[Quantity, float, float, str]:
        """The seconds of the stay."""
        return "seconds", opened.state.seconds, self.lifecycles.min_seconds, "s"
