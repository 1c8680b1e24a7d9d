"""The rule `crowd`: too many objects in a zone at once.

It counts the detections of each frame, without tracks. In a crowd people hide each other; a person who is hidden for
longer than `inertia` is not counted. Each zone has its own events. `predictions` lists all objects in the zone.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..camera.frame import Frame
from ..events.event import Event, Quantity, SubjectState
from ..inference.prediction import Prediction, foot_point
from . import RuleContext
from .conditions.label_filter import select_labels
from .rule_base import AreaRuleSettings, RuleBase
from .state.event_lifecycle import EventLifecycle


class CrowdSettings(AreaRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "crowd"`."""

    count: Annotated[int, msgspec.Meta(ge=1)]
    """Number of objects from which it is a crowd."""


class CrowdRule(RuleBase):
    """Reports zones that hold at least `count` objects."""

    Settings = CrowdSettings
    needs_tracks = False

    def __init__(self, settings: CrowdSettings, context: RuleContext) -> None:
        super().__init__(settings, context)
        self.labels = select_labels(settings.labels, context)
        self.count = settings.count
        self.counts_by_zone: dict[str, int] = {}

    def observe(self, frame: Frame, predictions: tuple[Prediction, ...]) -> list[Event]:
        events = self.close() if self.time_went_back(frame) else []
        if not self.schedule.is_active(frame.taken):
            return events + self.close()
        by_zone: dict[str, list[Prediction]] = {name: [] for name in self.area.zones}
        for each in predictions:
            if each.box is not None and each.label in self.labels and each.score >= self.least_score:
                for name in self.area.zones_at(foot_point(each.box)):
                    by_zone[name].append(each)
        self.counts_by_zone = {name: len(inside) for name, inside in by_zone.items()}
        for name, inside in by_zone.items():
            crowded = SubjectState(zones=(name,), entered_zones=(name,)) if len(inside) >= self.count else None
            events += self.lifecycles.update(frame, name, crowded, tuple(inside))
        return events

    def close(self) -> list[Event]:
        return self.lifecycles.close()

    def counts(self) -> dict[str, int]:
        return dict(self.counts_by_zone)

    def measure(self, opened: EventLifecycle) -> tuple[Quantity, float, float, str]:
        """The number of objects in the zone."""
        return "objects", len(opened.predictions), self.count, ""
