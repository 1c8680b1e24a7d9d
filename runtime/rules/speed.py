"""The rule `speed`: an object moves over the ground faster than `limit`.

Four ground points, marked in the frame and on_ground on site, give the homography from the frame to the ground. The
speed is the slope of the line that fits the foot points of the last `window` seconds best.

It holds for objects on that plane, between the four points. A pixel far away spans more metres than one nearby, so
errors grow with the distance. The foot point of a car is the middle of the lower edge of its box, which moves as the
car turns. An object has no speed until it has been tracked for half of `window`. With `limit = 0` every object is
reported, and the `end` event carries its top speed.
"""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Literal

import cv2
import msgspec
import numpy as np

from ..camera.frame import Frame
from ..config.polygon import Point, side_of_line
from ..errors import ConfigProblem
from ..events.event import Event, Quantity, SubjectState
from . import RuleContext
from .conditions.region import PolygonRegion, RuleArea
from .rule_base import AreaRuleSettings, NotNegative
from .state.event_lifecycle import EventLifecycle
from .state.track_state import TrackState
from .track_rule import TrackRule, state_from_zones

_UNITS = {"m/s": 1.0, "km/h": 3.6, "mph": 2.236936}
_FourPoints = tuple[Point, Point, Point, Point]


class SpeedSettings(AreaRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "speed"`."""

    points: _FourPoints
    """[x, y] of four ground points in the frame, fractions 0…1."""
    metres: _FourPoints
    """[x, y] of the same points on the ground, metres from any origin."""
    limit: NotNegative
    """Speed above which an object is reported."""
    unit: Literal["m/s", "km/h", "mph"] = "km/h"
    hysteresis: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.1
    """The event ends below limit * (1 - hysteresis)."""
    window: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    """Seconds of the path from which the speed is estimated."""


class SpeedRule(TrackRule):
    """Reports objects that are faster than the limit."""

    Settings = SpeedSettings

    def __init__(self, settings: SpeedSettings, context: RuleContext) -> None:
        PolygonRegion(settings.points, "points")
        check_not_collinear(settings.points, "points")
        check_not_collinear(settings.metres, "metres")
        orientations = {
            side_of_line(*in_frame) * side_of_line(*on_ground) > 0
            for in_frame, on_ground in zip(
                combinations(settings.points, 3), combinations(settings.metres, 3), strict=True
            )
        }
        if len(orientations) > 1:
            hint = "give the same four positions in the same order in both"
            raise ConfigProblem("metres: they are not in the order of points", hint=hint)
        if settings.polygon is None and not settings.zones:
            area = RuleArea(settings.event_name, settings.points, {})
        else:
            area = RuleArea(settings.event_name, settings.polygon, settings.zones)
        self.settings, self.path_seconds = settings, settings.window
        self.homography = cv2.getPerspectiveTransform(
            np.array(settings.points, np.float32), np.array(settings.metres, np.float32)
        )
        self.top_speeds: dict[int, float] = {}
        super().__init__(settings, context, area)

    def evaluate_track(self, frame: Frame, track: TrackState) -> SubjectState | None:
        speed = self.measure_speed(track)
        if speed is None or not track.inside:
            return None
        fast = self.top_speeds.get(track.track_id, -1.0) >= self.settings.limit
        if speed < self.settings.limit * (1 - self.settings.hysteresis if fast else 1):
            self.top_speeds.pop(track.track_id, None)
            return None
        self.top_speeds[track.track_id] = max(speed, self.top_speeds.get(track.track_id, 0.0))
        state = state_from_zones(track)
        return msgspec.structs.replace(
            state, speed=round(speed, 2), top_speed=round(self.top_speeds[track.track_id], 2)
        )

    def measure_speed(self, track: TrackState) -> float | None:
        """Speed in the rule's unit; None: the object has not been tracked for long enough."""
        moments = np.array([when for when, _ in track.path])
        moments -= moments[-1]
        if -moments[0] < self.settings.window / 2 - 1e-3:
            return None
        in_frame = np.array([[point for _, point in track.path]], np.float64)
        positions = cv2.perspectiveTransform(in_frame, self.homography)[0]
        slope = np.linalg.lstsq(np.stack([moments, np.ones_like(moments)], axis=1), positions, rcond=None)[0][0]
        return float(np.hypot(*slope)) * _UNITS[self.settings.unit]

    def measure(self, opened: EventLifecycle) -> tuple[Quantity, float, float, str]:
        """The speed."""
        return "speed", opened.state.speed or 0.0, self.settings.limit, self.settings.unit

    def on_track_end(self, track: TrackState) -> list[Event]:
        self.top_speeds.pop(track.track_id, None)
        return super().on_track_end(track)


def check_not_collinear(points: _FourPoints, key: str) -> None:
    """Raises ConfigProblem if three of the four points lie nearly on a line: they do not define a plane."""
    span = max(abs(a[axis] - b[axis]) for a in points for b in points for axis in (0, 1))
    for triangle in combinations(points, 3):
        if not abs(side_of_line(*triangle)) > 1e-4 * span * span:
            hint = "give the corners of a wide quadrilateral on the ground"
            raise ConfigProblem(f"{key}: three of the four lie on one line", hint=hint)
