"""Something moves against the way: in a one-way street, through an exit.

The way is an arrow. A thing goes wrong where its feet, over the last `window` seconds, have moved by at least
`distance` in a direction that is within `angle` of the arrow's opposite. Directions are those of the picture, so
where the street bends or runs into the distance the angle must be wide, or the polygon small. Who stands still goes
no way.
"""

from __future__ import annotations

from math import acos, degrees, hypot
from typing import Annotated

import msgspec

from ..camera.frame import Frame
from ..config.polygon import Point
from ..errors import ConfigProblem
from ..events.event import State
from . import Context
from .conditions.region import inside_picture
from .rule_base import AreaSettings
from .state.track_state import Thing
from .track_rule import Watch, place


class WrongWaySettings(AreaSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "wrong_way"`."""

    way: tuple[Point, Point]
    """From where to where is right: two points [x, y], fractions 0…1."""
    angle: Annotated[float, msgspec.Meta(gt=0, le=180)] = 60.0
    """Degrees by which a wrong way may differ from the opposite of the right one."""
    distance: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05
    """Of the picture's height; who moves by less within `window` goes no way."""
    window: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    """Seconds of its path that are looked at."""


class WrongWay(Watch):
    """The rule; see above."""

    Settings = WrongWaySettings

    def __init__(self, settings: WrongWaySettings, context: Context) -> None:
        inside_picture(settings.way, "way")
        if settings.way[0] == settings.way[1]:
            raise ConfigProblem("way: it goes nowhere", hint="give two points, from where to where is right")
        self.settings, self.window = settings, settings.window
        super().__init__(settings, context)

    def judge(self, frame: Frame, thing: Thing) -> State | None:
        height, width = frame.pixels.shape[:2]
        (_, start), (_, end) = thing.path[0], thing.path[-1]
        moved = _arrow(start, end, width / height)
        if not thing.inside or hypot(*moved) < self.settings.distance:
            return None
        against = _between(moved, _arrow(self.settings.way[1], self.settings.way[0], width / height))
        return place(thing) if against <= self.settings.angle else None


def _arrow(start: Point, end: Point, aspect: float) -> Point:
    """In heights of the picture."""
    return (end[0] - start[0]) * aspect, end[1] - start[1]


def _between(one: Point, other: Point) -> float:
    """The angle in degrees."""
    cosine = (one[0] * other[0] + one[1] * other[1]) / (hypot(*one) * hypot(*other))
    return degrees(acos(min(max(cosine, -1.0), 1.0)))
