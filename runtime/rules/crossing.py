"""The rule `crossing`: an object crosses a line.

The line has two points or more. Seen along it from the first point to the last, an object that comes from the left goes
to the `right`, and the other way round. The rule intersects each step of the foot point with the line; a step there and
back cancels out. It reports a crossing once the object has been farther from the line than `margin` for `inertia`
seconds, or once the track ends beyond the line. So an object that stands on the line is reported at most once. The
event has no duration: `new` and `end` come together, and `started` is the first frame beyond the line.

A hidden object is assumed to move in a straight line, so a line that ends behind a pillar may be missed.
"""

from __future__ import annotations

from itertools import pairwise
from math import hypot
from typing import Annotated, Literal

import msgspec

from ..camera.frame import Frame
from ..config.polygon import Point, Polygon, side_of_line
from ..errors import ConfigProblem
from ..events.event import Event, SubjectState
from . import RuleContext
from .conditions.region import WHOLE_FRAME, RuleArea, check_inside_image
from .rule_base import BaseRuleSettings
from .state.event_lifecycle import EventLifecycle
from .state.track_state import TrackState
from .track_rule import TrackRule


class CrossingSettings(BaseRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "crossing"`."""

    line: Polygon
    """[x, y] of each of its points, fractions 0…1."""
    direction: Literal["both", "left", "right"] = "both"
    """The side to which a crossing counts."""
    margin: Annotated[float, msgspec.Meta(ge=0, lt=0.5)] = 0.01
    """Distance beyond the line, as a fraction of the frame, from which a crossing counts."""


class _LineCrossing:
    """The steps of an object over the line since its last crossing."""

    def __init__(self) -> None:
        self.net_crossings = 0  # to the right minus to the left
        self.last_point: Point | None = None
        self.lifecycle: EventLifecycle | None = None


class CrossingRule(TrackRule):
    """Reports objects that cross the line."""

    Settings = CrossingSettings

    def __init__(self, settings: CrossingSettings, context: RuleContext) -> None:
        check_inside_image(settings.line, "line")
        if len(settings.line) < 2 or any(a == b for a, b in pairwise(settings.line)):
            hint = "give at least two points, each different from the one before"
            raise ConfigProblem("line: it has no length", hint=hint)
        self.settings = settings
        self.crossings: dict[int, _LineCrossing] = {}
        self.totals = {"left": 0, "right": 0}
        super().__init__(settings, context, RuleArea("", WHOLE_FRAME, {}))

    def events_for_frame(self, frame: Frame, tracks: list[TrackState]) -> list[Event]:
        events = []
        for track in tracks:
            crossing = self.crossings.setdefault(track.track_id, _LineCrossing())
            _, point = track.path[-1]
            before, crossing.last_point = crossing.last_point or point, point
            crossing.net_crossings += count_net_crossings(before, point, self.settings.line)
            if crossing.net_crossings == 0 or distance_to_line(point, self.settings.line) <= self.settings.margin:
                crossing.lifecycle = None
                continue
            crossing.lifecycle = crossing.lifecycle or EventLifecycle(self.settings.inertia, self.lifecycles.template)
            state = SubjectState(direction="right" if crossing.net_crossings > 0 else "left")
            crossing.lifecycle.observe_active(frame, state, (track.prediction,), track.top_score)
            if crossing.lifecycle.condition.update(True, frame.moment):
                events += self._crossing_events(crossing)
        return events

    def on_track_end(self, track: TrackState) -> list[Event]:
        crossing = self.crossings.pop(track.track_id, None)
        return self._crossing_events(crossing) if crossing is not None else []

    def counts(self) -> dict[str, int]:
        return dict(self.totals)

    def _crossing_events(self, crossing: _LineCrossing) -> list[Event]:
        """The events of a crossing, if the object is beyond the line on the side that counts."""
        lifecycle, crossing.lifecycle = crossing.lifecycle, None
        if lifecycle is None or lifecycle.state.direction is None:
            return []
        crossing.net_crossings = 0
        return self.report_crossing(lifecycle, lifecycle.state.direction)

    def report_crossing(self, lifecycle: EventLifecycle, direction: str) -> list[Event]:
        """The events of a crossing to `direction`, `left` or `right`."""
        self.totals[direction] += 1
        return self.make_events(lifecycle, direction)

    def make_events(self, lifecycle: EventLifecycle, direction: str) -> list[Event]:
        """`new` and `end`, if the direction counts."""
        if self.settings.direction not in ("both", direction):
            return []
        return [lifecycle.make_event("new"), lifecycle.make_event("end")]


def count_net_crossings(before: Point, after: Point, line: Polygon) -> int:
    """How often a straight step crosses the line to the right, minus how often to the left."""
    first, last = sorted((before, after))  # so that a step and its reverse cross the same edges
    net = 0
    for start, end in pairwise(line):
        is_right, was_right = side_of_line(after, start, end) > 0, side_of_line(before, start, end) > 0
        if is_right != was_right and (side_of_line(start, first, last) > 0) != (side_of_line(end, first, last) > 0):
            net += 1 if is_right else -1
    return net


def distance_to_line(point: Point, line: Polygon) -> float:
    """Distance of a point from the line, in fractions of the frame."""
    distances = []
    for (ax, ay), (bx, by) in pairwise(line):
        dx, dy = bx - ax, by - ay
        along = ((point[0] - ax) * dx + (point[1] - ay) * dy) / (dx * dx + dy * dy)
        along = min(max(along, 0.0), 1.0)
        distances.append(hypot(point[0] - ax - along * dx, point[1] - ay - along * dy))
    return min(distances)
