"""The rule `wrong_way`: an object moves against the permitted direction, as in a one-way street.

The direction is an arrow in the frame. An object goes the wrong way if its foot point has moved, over the last
`window` seconds, by at least `distance` in a direction within `angle` of the opposite of the arrow. Directions are
those of the frame: where the street bends or runs into the distance, use a wide angle or a small polygon. An object
that stands still has no direction.
"""

from __future__ import annotations

from math import hypot
from typing import Annotated

import msgspec

from ..camera.frame import Frame
from ..config.polygon import Point
from ..events.event import SubjectState
from . import RuleContext
from .conditions.direction import angle_between, check_way, movement_between
from .rule_base import AreaRuleSettings
from .state.track_state import TrackState
from .track_rule import TrackRule, state_from_zones


class WrongWaySettings(AreaRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "wrong_way"`."""

    way: tuple[Point, Point]
    """The permitted direction, from the first point to the second: [x, y], fractions 0…1."""
    angle: Annotated[float, msgspec.Meta(gt=0, le=180)] = 60.0
    """Largest deviation from the opposite direction, degrees."""
    distance: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05
    """Least movement within `window`, as a fraction of the height of the frame."""
    window: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    """Seconds of the path that count."""


class WrongWayRule(TrackRule):
    """Reports objects that move against the permitted direction."""

    Settings = WrongWaySettings

    def __init__(self, settings: WrongWaySettings, context: RuleContext) -> None:
        check_way(settings.way)
        self.settings, self.path_seconds = settings, settings.window
        super().__init__(settings, context)

    def evaluate_track(self, frame: Frame, track: TrackState) -> SubjectState | None:
        height, width = frame.pixels.shape[:2]
        (_, start), (_, end) = track.path[0], track.path[-1]
        movement = movement_between(start, end, width / height)
        if not track.inside or hypot(*movement) < self.settings.distance:
            return None
        deviation = angle_between(
            movement, movement_between(self.settings.way[1], self.settings.way[0], width / height)
        )
        return state_from_zones(track) if deviation <= self.settings.angle else None
