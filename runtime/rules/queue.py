"""The rule `queue`: too many objects wait in a zone at once, each for longer than `seconds`.

An object waits once it has been in the zone for `seconds`; those who walk through do not count. The seconds of each run
as in `dwell`: they go on if it leaves for less than `inertia`, or is hidden for less than the tracker's `keep`. Hidden
objects count as long as they are tracked, because people in a queue hide each other. Each zone has its own events;
`predictions` lists all who wait, and `counts` gives their number in each zone.

Somebody who gets a new track number starts to wait anew, so a queue before a camera that looks along it is counted too
short. Look from above or from the side.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..camera.frame import Frame
from ..events.event import Event, Quantity, SubjectState
from . import RuleContext
from .conditions.debounce import SLACK
from .rule_base import AreaRuleSettings
from .state.event_lifecycle import EventLifecycle
from .state.track_state import TrackState
from .track_rule import TrackRule


class QueueSettings(AreaRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "queue"`."""

    count: Annotated[int, msgspec.Meta(ge=1)]
    """Number of waiting objects from which the queue is too long."""
    seconds: Annotated[float, msgspec.Meta(gt=0)]
    """Seconds in the zone after which an object waits."""


class QueueRule(TrackRule):
    """Reports zones in which at least `count` objects wait."""

    Settings = QueueSettings

    def __init__(self, settings: QueueSettings, context: RuleContext) -> None:
        super().__init__(settings, context)
        self.count, self.seconds = settings.count, settings.seconds
        self.entered: dict[tuple[int, str], float] = {}
        """When each track came into each zone that it is in."""
        self.counts_by_zone = dict.fromkeys(self.area.zones, 0)

    def events_for_frame(self, frame: Frame, tracks: list[TrackState]) -> list[Event]:
        for track in tracks:
            for zone, stay in track.stays.items():
                if zone in track.inside:
                    self.entered.setdefault((track.track_id, zone), frame.moment)
                elif not stay.value:
                    self.entered.pop((track.track_id, zone), None)
        waiting = {zone: self.find_waiting(zone, frame.moment) for zone in self.area.zones}
        self.counts_by_zone = {zone: len(those) for zone, those in waiting.items()}
        events = []
        for zone, those in waiting.items():
            state = SubjectState(zones=(zone,), entered_zones=(zone,)) if len(those) >= self.count else None
            events += self.lifecycles.update(frame, zone, state, tuple(each.prediction for each in those))
        return events

    def find_waiting(self, zone: str, moment: float) -> list[TrackState]:
        """The tracks that have been in the zone for long enough."""
        return [
            track
            for track in self.tracks.by_id.values()
            if zone in track.inside
            and moment - self.entered.get((track.track_id, zone), moment) >= self.seconds - SLACK
        ]

    def on_track_end(self, track: TrackState) -> list[Event]:
        for zone in self.area.zones:
            self.entered.pop((track.track_id, zone), None)
        return []

    def close(self) -> list[Event]:
        super().close()
        return self.lifecycles.close()

    def counts(self) -> dict[str, int]:
        return dict(self.counts_by_zone)

    def measure(self, opened: EventLifecycle) -> tuple[Quantity, float, float, str]:
        """The number of waiting objects."""
        return "objects", len(opened.predictions), self.count, ""
