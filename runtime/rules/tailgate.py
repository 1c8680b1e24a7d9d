"""The rule `tailgate`: an object crosses a line too soon after another in the same direction.

It takes the crossings of the rule `crossing`, with all of their keys, and compares the moment of each with those before
to the same side. The event is about the one who follows; `seconds` of its state is the time since the one before. Two
who go side by side are one event. As for `crossing`, `new` and `end` come together. `counts` gives those who followed
too soon to each side.

The moments are those of frames: at 5 frames a second the time between two crossings is known to 0.2 s. Two people whom
the detector takes for one are not told apart, so look from above or from the side at a narrow passage.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..events.event import Event
from . import RuleContext
from .conditions.debounce import SLACK
from .crossing import CrossingRule, CrossingSettings
from .state.event_lifecycle import EventLifecycle


class TailgateSettings(CrossingSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "tailgate"`."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 2.0
    """Seconds after a crossing in which another to the same side is too soon."""


class TailgateRule(CrossingRule):
    """Reports objects that follow another over the line."""

    Settings = TailgateSettings

    def __init__(self, settings: TailgateSettings, context: RuleContext) -> None:
        self.seconds = settings.seconds
        self.moments: dict[str, list[float]] = {"left": [], "right": []}
        """Recent crossings to each side."""
        super().__init__(settings, context)

    def report_crossing(self, lifecycle: EventLifecycle, direction: str) -> list[Event]:
        moment = lifecycle.started.moment
        recent = [each for each in self.moments[direction] if abs(moment - each) <= self.seconds + SLACK]
        self.moments[direction] = [*recent, moment]
        if not recent:
            return []
        self.totals[direction] += 1
        gap = min(abs(moment - each) for each in recent)
        lifecycle.state = msgspec.structs.replace(lifecycle.state, seconds=round(gap, 3))
        return self.make_events(lifecycle, direction)

    def close(self) -> list[Event]:
        events = super().close()
        self.moments = {"left": [], "right": []}
        return events
