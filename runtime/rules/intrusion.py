"""The rule `intrusion`: an object enters a zone, from any side or in one direction.

Without `way` everyone who enters is an intruder. With `way` only those are who enter in that direction; those who cross
the zone or leave through it are not. The direction is measured at the entry: from where the object was `window` seconds
before it came in, to where it is as soon as it has moved by `distance`. It is decided once for each stay. An object
that is first seen inside has no way in; then its first movement inside decides. One that stays where it was first seen
has no direction and is not reported: use `zone` or `dwell` for it.

With `hours` and `days` the zone is guarded at night or on holidays. Who is inside as the hours begin is an intruder, if
there is no `way`.
"""

from __future__ import annotations

from math import hypot
from typing import Annotated

import msgspec

from ..camera.frame import Frame
from ..config.polygon import Point
from ..errors import ConfigProblem
from ..events.event import Event, SubjectState
from . import RuleContext
from .conditions.direction import angle_between, check_way, movement_between
from .rule_base import AreaRuleSettings
from .state.track_state import TrackState
from .track_rule import TrackRule, state_from_zones


class IntrusionSettings(AreaRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "intrusion"`."""

    way: tuple[Point, Point] | None = None
    """The direction of an intruder, from the first point to the second: [x, y], fractions 0…1; None: any."""
    angle: Annotated[float, msgspec.Meta(gt=0, le=180)] = 60.0
    """Largest deviation from that direction, degrees."""
    distance: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05
    """Movement from which there is a direction, as a fraction of the height of the frame."""
    window: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    """Seconds before the entry from which the movement counts."""


class _Entry:
    """How a track came in."""

    def __init__(self, start: Point) -> None:
        self.start = start
        self.matches: bool | None = None
        """Whether the direction is that of an intruder; None: not decided yet."""


class IntrusionRule(TrackRule):
    """Reports objects that enter the zones."""

    Settings = IntrusionSettings

    def __init__(self, settings: IntrusionSettings, context: RuleContext) -> None:
        if settings.polygon is None and not settings.zones:
            raise ConfigProblem("no polygon", hint="give the zone's corners, as polygon = [[0, 0.5], [1, 0.5], [1, 1]]")
        if settings.way is not None:
            check_way(settings.way)
        self.settings, self.path_seconds = settings, settings.window
        self.entries: dict[int, _Entry] = {}
        super().__init__(settings, context)

    def evaluate_track(self, frame: Frame, track: TrackState) -> SubjectState | None:
        if not track.inside:
            if not track.zones:
                self.entries.pop(track.track_id, None)
            return None
        if self.settings.way is not None:
            height, width = frame.pixels.shape[:2]
            entry = self.entries.setdefault(track.track_id, _Entry(track.path[0][1]))
            if entry.matches is None:
                entry.matches = self.matches_way(entry.start, track.path[-1][1], self.settings.way, width / height)
            if not entry.matches:
                return None
        return state_from_zones(track)

    def matches_way(self, start: Point, end: Point, way: tuple[Point, Point], aspect: float) -> bool | None:
        """Whether an object that moved so is an intruder; None: it has not moved far enough.

        Args:
            start: where it was
            end: where it is
            way: the direction of an intruder
            aspect: width of the frame divided by its height
        """
        movement = movement_between(start, end, aspect)
        if hypot(*movement) < self.settings.distance:
            return None
        return angle_between(movement, movement_between(*way, aspect)) <= self.settings.angle

    def on_track_end(self, track: TrackState) -> list[Event]:
        self.entries.pop(track.track_id, None)
        return super().on_track_end(track)
