"""How fast something moves over the ground, and who is faster than `limit`.

Four points of the ground that were seen in the picture and measured on the spot give the map from the one to the other
(a homography). A thing's speed is the slope of the straight line that fits the places of its feet in the last `window`
seconds best.

It is right for what stands on that plane, and within the four points; a pixel at the far end is worth more metres
than one near by, so errors grow there. Feet are taken from the box: a car is measured at the middle of its lower
edge, which wanders as it turns. A thing is given no speed before it was followed for half of `window`. With `limit =
0` each thing is told of, and its `end` tells how fast it was.
"""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Literal

import cv2
import msgspec
import numpy as np

from ..camera.frame import Frame
from ..config.polygon import Point, side
from ..errors import ConfigProblem
from ..events.event import Event, State
from . import Context
from .conditions.region import Area, Region
from .rule_base import AreaSettings, NotNegative
from .state.track_state import Thing
from .track_rule import Watch, place

_UNITS = {"m/s": 1.0, "km/h": 3.6, "mph": 2.236936}
_Four = tuple[Point, Point, Point, Point]


class SpeedSettings(AreaSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "speed"`."""

    points: _Four
    """[x, y] of four points of the ground in the picture, fractions 0…1."""
    metres: _Four
    """[x, y] of the same four on the ground, metres from anywhere."""
    limit: NotNegative
    """What is faster is told of."""
    unit: Literal["m/s", "km/h", "mph"] = "km/h"
    hysteresis: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.1
    """It is over below limit * (1 - hysteresis)."""
    window: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    """Seconds of its path that are looked at."""


class Speed(Watch):
    """The rule; see above."""

    Settings = SpeedSettings

    def __init__(self, settings: SpeedSettings, context: Context) -> None:
        Region(settings.points, "points")
        on_one_line(settings.points, "points")
        on_one_line(settings.metres, "metres")
        turned = {
            side(*seen) * side(*measured) > 0
            for seen, measured in zip(combinations(settings.points, 3), combinations(settings.metres, 3), strict=True)
        }
        if len(turned) > 1:
            hint = "give the same four places in the same order in both"
            raise ConfigProblem("metres: they are not in the order of points", hint=hint)
        if settings.polygon is None and not settings.zones:
            area = Area(settings.called, settings.points, {})
        else:
            area = Area(settings.called, settings.polygon, settings.zones)
        self.settings, self.window = settings, settings.window
        self.ground = cv2.getPerspectiveTransform(
            np.array(settings.points, np.float32), np.array(settings.metres, np.float32)
        )
        self.top: dict[int, float] = {}
        super().__init__(settings, context, area)

    def judge(self, frame: Frame, thing: Thing) -> State | None:
        speed = self.speed(thing)
        if speed is None or not thing.inside:
            return None
        fast = self.top.get(thing.track, -1.0) >= self.settings.limit
        if speed < self.settings.limit * (1 - self.settings.hysteresis if fast else 1):
            self.top.pop(thing.track, None)
            return None
        self.top[thing.track] = max(speed, self.top.get(thing.track, 0.0))
        told = place(thing)
        return msgspec.structs.replace(told, speed=round(speed, 2), top_speed=round(self.top[thing.track], 2))

    def speed(self, thing: Thing) -> float | None:
        """In the rule's unit; None: it was not followed for long enough."""
        taken = np.array([when for when, _ in thing.path])
        taken -= taken[-1]
        if -taken[0] < self.settings.window / 2 - 1e-3:
            return None
        seen = np.array([[point for _, point in thing.path]], np.float64)
        places = cv2.perspectiveTransform(seen, self.ground)[0]
        slope = np.linalg.lstsq(np.stack([taken, np.ones_like(taken)], axis=1), places, rcond=None)[0][0]
        return float(np.hypot(*slope)) * _UNITS[self.settings.unit]

    def gone(self, thing: Thing) -> list[Event]:
        self.top.pop(thing.track, None)
        return super().gone(thing)


def on_one_line(points: _Four, key: str) -> None:
    """Complains where three of four points lie on a line, or nearly so: they say nothing of the plane."""
    span = max(abs(a[axis] - b[axis]) for a in points for b in points for axis in (0, 1))
    for three in combinations(points, 3):
        if not abs(side(*three)) > 1e-4 * span * span:
            hint = "give the corners of a wide quadrilateral on the ground"
            raise ConfigProblem(f"{key}: three of the four lie on one line", hint=hint)
