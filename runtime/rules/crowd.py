"""Too many at once.

It counts what each frame shows, without tracks: a crowd hides its own, and whoever is hidden for longer than
`inertia` is not counted. With several zones each is a crowd of its own. `predictions` are all that are in it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..camera.frame import Frame
from ..events.event import Event, State
from ..inference.prediction import Prediction
from . import Context
from .conditions.label_filter import wanted
from .conditions.region import foot
from .rule_base import AreaSettings, Post


class CrowdSettings(AreaSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "crowd"`."""

    count: Annotated[int, msgspec.Meta(ge=1)]
    """So many are a crowd."""


class Crowd(Post):
    """The rule; see above."""

    Settings = CrowdSettings
    follows = False

    def __init__(self, settings: CrowdSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.labels = wanted(settings.labels, context)
        self.least = context.threshold if settings.min_score is None else settings.min_score
        self.count = settings.count
        self.present: dict[str, int] = {}

    def observe(self, frame: Frame, seen: tuple[Prediction, ...]) -> list[Event]:
        events = self.close() if self.back(frame) else []
        if not self.schedule.covers(frame.taken):
            return events + self.close()
        there: dict[str, list[Prediction]] = {name: [] for name in self.area.zones}
        for each in seen:
            if each.box is not None and each.label in self.labels and each.score >= self.least:
                for name in self.area.around(foot(each.box)):
                    there[name].append(each)
        self.present = {name: len(them) for name, them in there.items()}
        for name, them in there.items():
            crowded = State(zones=(name,), entered_zones=(name,)) if len(them) >= self.count else None
            events += self.episodes.judge(frame, name, crowded, tuple(them))
        return events

    def close(self) -> list[Event]:
        return self.episodes.close()

    def counts(self) -> dict[str, int]:
        return dict(self.present)
