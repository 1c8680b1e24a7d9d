"""Something crosses a line.

The line has two points or more. Walking along it from the first to the last, as the picture shows it, what comes from
the left goes to the `right`, and the other way round. Each step of a thing's feet is held against the line; there and
back again is nothing. A crossing is told when the thing is farther from the line than `margin` and was so for
`inertia`, so that who trembles on the line, or stands on it, is told of once or not at all; and where it is not seen
again, when the tracker gives it up. It is an event of one moment: `new` and `end` come together, `started` is when it
was first beyond.

While a thing is hidden it is taken to have walked straight on, so a line that ends behind a pillar may be missed.
"""

from __future__ import annotations

from itertools import pairwise
from math import hypot
from typing import Annotated, Literal

import msgspec

from ..camera.frame import Frame
from ..config.polygon import Point, Polygon, side
from ..errors import ConfigProblem
from ..events.event import Event, State
from . import Context
from .conditions.region import WHOLE, Area, inside_picture
from .rule_base import PostSettings
from .state.event_lifecycle import Episode
from .state.track_state import Thing
from .track_rule import Watch


class CrossingSettings(PostSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "crossing"`."""

    line: Polygon
    """[x, y] of each of its points, fractions 0…1."""
    direction: Literal["both", "left", "right"] = "both"
    """To which side a crossing counts."""
    margin: Annotated[float, msgspec.Meta(ge=0, lt=0.5)] = 0.01
    """Fraction of the picture by which a thing must be beyond the line."""


class _Passage:
    """A thing's steps over the line since the last crossing."""

    def __init__(self) -> None:
        self.net = 0  # to the right less to the left
        self.last: Point | None = None
        self.beyond: Episode | None = None


class Crossing(Watch):
    """The rule; see above."""

    Settings = CrossingSettings

    def __init__(self, settings: CrossingSettings, context: Context) -> None:
        inside_picture(settings.line, "line")
        if len(settings.line) < 2 or any(a == b for a, b in pairwise(settings.line)):
            hint = "give at least two points, each other than the one before"
            raise ConfigProblem("line: it has no length", hint=hint)
        self.settings = settings
        self.passages: dict[int, _Passage] = {}
        self.totals = {"left": 0, "right": 0}
        super().__init__(settings, context, Area("", WHOLE, {}))

    def told(self, frame: Frame, things: list[Thing]) -> list[Event]:
        events = []
        for thing in things:
            passage = self.passages.setdefault(thing.track, _Passage())
            _, point = thing.path[-1]
            before, passage.last = passage.last or point, point
            passage.net += steps(before, point, self.settings.line)
            if passage.net == 0 or distance(point, self.settings.line) <= self.settings.margin:
                passage.beyond = None
                continue
            passage.beyond = passage.beyond or Episode(self.settings.inertia, self.episodes.sender)
            state = State(direction="right" if passage.net > 0 else "left")
            passage.beyond.yes(frame, state, (thing.seen,), thing.top_score)
            if passage.beyond.so.show(True, frame.taken):
                events += self._crossed(passage)
        return events

    def gone(self, thing: Thing) -> list[Event]:
        passage = self.passages.pop(thing.track, None)
        return self._crossed(passage) if passage is not None else []

    def counts(self) -> dict[str, int]:
        return dict(self.totals)

    def _crossed(self, passage: _Passage) -> list[Event]:
        """Tells of it, if it is beyond the line and went the way that counts."""
        story, passage.beyond = passage.beyond, None
        if story is None or story.state.direction is None:
            return []
        passage.net = 0
        self.totals[story.state.direction] += 1
        if self.settings.direction not in ("both", story.state.direction):
            return []
        return [story.message("new"), story.message("end")]


def steps(before: Point, after: Point, line: Polygon) -> int:
    """How often the straight way between two points crosses the line to its right, less to its left."""
    first, last = sorted((before, after))  # so that the way back crosses exactly what the way there did
    net = 0
    for start, end in pairwise(line):
        to, fro = side(after, start, end) > 0, side(before, start, end) > 0
        if to != fro and (side(start, first, last) > 0) != (side(end, first, last) > 0):
            net += 1 if to else -1
    return net


def distance(point: Point, line: Polygon) -> float:
    """From the nearest point of the line, in fractions of the picture."""
    found = []
    for (ax, ay), (bx, by) in pairwise(line):
        dx, dy = bx - ax, by - ay
        along = ((point[0] - ax) * dx + (point[1] - ay) * dy) / (dx * dx + dy * dy)
        along = min(max(along, 0.0), 1.0)
        found.append(hypot(point[0] - ax - along * dx, point[1] - ay - along * dy))
    return min(found)
