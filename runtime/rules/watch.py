"""What the rules have in common that watch tracks: which of them, where, when, and how it is told.

A rule says of one thing in one frame whether it is so (`judge`); all else is here, in `thing.py` and in `episode.py`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ..config import Name
from ..event import PRIORITY, Event, State
from ..frame import Frame
from ..prediction import Prediction
from . import Context
from .episode import Episodes, Teller
from .labels import wanted
from .region import Area, Polygon
from .schedule import Schedule
from .thing import Thing, Things

NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class WatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys that each of these rules has in its `[[rules]]` table."""

    use: str
    name: Name = ""
    """The event's place in the topic; without one what `use` says."""
    labels: tuple[str, ...] | None = None
    """Only predictions of these labels count; None: of all but `normal` ones and `unknown`."""
    min_score: float | None = None
    """What a thing must once have reached to count; None: the bundle's threshold."""
    hours: str | tuple[str, ...] | None = None
    """When the rule looks, as `22:00-06:00`; None: at any hour."""
    days: tuple[str, ...] | None = None
    """On which days, as `mon`; None: on all."""
    inertia: NotNegative = 0.5
    """Seconds for which every frame must agree before a change is believed."""
    update: NotNegative = 10.0
    """Seconds between updates of an open event; 0: only where its zones change."""
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] = PRIORITY
    """What is lower gives way first where the outbox is full."""

    @property
    def called(self) -> str:
        return self.name or self.use


class AreaSettings(WatchSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Those of a rule that looks at a part of the picture."""

    polygon: Polygon | None = None
    """[x, y] of each corner, fractions 0…1; None: the whole picture."""
    zones: dict[Name, Polygon] = {}
    """The same for several, by name."""


class Watch:
    """A rule over tracks."""

    follows = True
    window = 0.0
    """Seconds of a thing's path that the rule looks at."""

    def __init__(self, settings: Any, context: Context, area: Area | None = None, hold: float = 0.0) -> None:
        """`hold`: seconds for which it must be so before it is told."""
        self.name = settings.called
        self.area = area or Area(self.name, settings.polygon, settings.zones)
        self.schedule = Schedule(settings.hours, settings.days, context.timezone)
        least = context.threshold if settings.min_score is None else settings.min_score
        labels = wanted(settings.labels, context)
        self.things = Things(labels, least, self.area, settings.inertia, context.keep)
        teller = Teller(self.name, context.model, settings.priority, settings.update, self.counts)
        self.episodes = Episodes(teller, settings.inertia, hold)
        self.last = float("-inf")

    def observe(self, frame: Frame, seen: tuple[Prediction, ...]) -> list[Event]:
        """The changes that this frame brings. Time that goes back ends what is open, as the schedule does."""
        back, self.last = frame.taken < self.last, frame.taken
        events = self.close() if back else []
        if not self.schedule.covers(frame.taken):
            return events + self.close()
        for thing in self.things.give_up(frame.taken):
            events += self.gone(thing)
        things = self.things.see(frame, seen, self.window)
        return events + self.told(frame, things)

    def close(self) -> list[Event]:
        """Ends what is open, each at the last frame in which it was so."""
        events = []
        for thing in list(self.things.of.values()):
            del self.things.of[thing.track]
            events += self.gone(thing)
        return events

    def told(self, frame: Frame, things: list[Thing]) -> list[Event]:
        """What there is to tell of the things that the frame shows."""
        events = []
        for thing in things:
            events += self.episodes.judge(frame, thing.track, self.judge(frame, thing), (thing.seen,), thing.top_score)
        return events

    def judge(self, frame: Frame, thing: Thing) -> State | None:
        """How it is in this frame; None: it is not so."""
        raise NotImplementedError

    def gone(self, thing: Thing) -> list[Event]:
        """What there is to tell of a thing that is not followed any longer."""
        return self.episodes.end(thing.track)

    def counts(self) -> dict[str, int]:
        """What is told of all things with every message."""
        return {}


def place(thing: Thing) -> State:
    """The zones that it is in and those that it has been in."""
    return State(zones=thing.zones or thing.inside, entered_zones=tuple(thing.entered) or thing.inside)
