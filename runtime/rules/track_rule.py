"""A rule that watches tracks.

It says of one thing in one frame whether it is so (`judge`); all else is here, in `thing.py` and in `episode.py`.
"""

from __future__ import annotations

from typing import Any

from ..camera.frame import Frame
from ..events.event import Event, State
from ..inference.prediction import Prediction
from . import Context
from .conditions.label_filter import wanted
from .conditions.region import Area
from .rule_base import Post
from .state.track_state import Thing, Things


class Watch(Post):
    """A rule over tracks."""

    follows = True
    window = 0.0
    """Seconds of a thing's path that the rule looks at."""

    def __init__(self, settings: Any, context: Context, area: Area | None = None, hold: float = 0.0) -> None:
        super().__init__(settings, context, area, hold)
        least = context.threshold if settings.min_score is None else settings.min_score
        labels = wanted(settings.labels, context)
        self.things = Things(labels, least, self.area, settings.inertia, context.keep)

    def observe(self, frame: Frame, seen: tuple[Prediction, ...]) -> list[Event]:
        events = self.close() if self.back(frame) else []
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


def place(thing: Thing) -> State:
    """The zones that it is in and those that it has been in."""
    return State(zones=thing.zones or thing.inside, entered_zones=tuple(thing.entered) or thing.inside)
