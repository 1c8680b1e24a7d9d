"""The rule `running`: a person moves fast, measured in heights of the own body.

It needs no calibration. The speed is the slope of the line that fits the foot points of the last `window` seconds best,
divided by the median height of the box in that time. A person of 1.7 m who walks at 1.4 m/s moves 0.8 heights a second;
one who runs at 3.4 m/s moves 2.

A box that jumps from one person to another, or becomes that of two, is no runner: the foot points must lie near the
line, and the height may change by half at most.

Movement towards the camera or away from it is foreshortened and measured too slow. A box that touches the edge of the
frame is cut off and not measured. A person whose legs are hidden, who sits, or who rides a bicycle is measured too
fast. Use `speed` where the ground can be measured.
"""

from __future__ import annotations

from statistics import median
from typing import Annotated

import msgspec
import numpy as np

from ..camera.frame import Frame
from ..events.event import Event, Quantity, SubjectState
from ..inference.prediction import Box
from . import RuleContext
from .conditions.debounce import SLACK
from .rule_base import AreaRuleSettings
from .state.event_lifecycle import EventLifecycle
from .state.track_state import TrackState
from .track_rule import TrackRule, state_from_zones

_MIN_POINTS = 3
_STRAIGHT = 0.1  # largest distance from the line (root mean square), as a fraction of the way; a jump has 0.17
_LIKE_HEIGHT = 1.5  # largest ratio of the heights of the box within the window
_EDGE = 0.005  # fraction of the frame: a box as near as this to its edge is taken for cut off


class RunningSettings(AreaRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "running"`."""

    limit: Annotated[float, msgspec.Meta(gt=0)] = 1.5
    """Heights of the body a second from which a person runs."""
    hysteresis: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.2
    """The event ends below limit * (1 - hysteresis)."""
    window: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    """Seconds of the path from which the speed is estimated."""


class RunningRule(TrackRule):
    """Reports people who run."""

    Settings = RunningSettings

    def __init__(self, settings: RunningSettings, context: RuleContext) -> None:
        self.settings, self.path_seconds = settings, settings.window
        self.top_speeds: dict[int, float] = {}
        super().__init__(settings, context)

    def evaluate_track(self, frame: Frame, track: TrackState) -> SubjectState | None:
        height, width = frame.pixels.shape[:2]
        speed = self.measure_speed(track, width / height)
        fastest = self.top_speeds.get(track.track_id)
        limit = self.settings.limit * (1 if fastest is None else 1 - self.settings.hysteresis)
        if speed is None or not track.inside or speed < limit:
            self.top_speeds.pop(track.track_id, None)
            return None
        fastest = self.top_speeds[track.track_id] = max(speed, fastest or 0.0)
        return msgspec.structs.replace(state_from_zones(track), speed=round(speed, 2), top_speed=round(fastest, 2))

    def measure_speed(self, track: TrackState, aspect: float) -> float | None:
        """Heights of the body a second; None: it was tracked for less than half of `window`, its box is cut off, or it
        does not move evenly.

        Args:
            track: the track
            aspect: width of the frame divided by its height
        """
        moments = np.array([when for when, _ in track.path])
        moments -= moments[-1]
        if -moments[0] < self.settings.window / 2 - SLACK or any(is_cut_off(box) for box in track.boxes):
            return None
        feet = np.array([(x * aspect, y) for _, (x, y) in track.path])
        line = np.stack([moments, np.ones_like(moments)], axis=1)
        fit = np.linalg.lstsq(line, feet, rcond=None)[0]
        distance, off = float(np.hypot(*fit[0])) * -moments[0], feet - line @ fit
        heights = [box.bottom - box.top for box in track.boxes]
        if len(feet) < _MIN_POINTS or np.sqrt((off**2).sum(axis=1).mean()) > _STRAIGHT * distance:
            return None
        if min(heights) <= 0 or max(heights) > _LIKE_HEIGHT * min(heights):
            return None
        return float(np.hypot(*fit[0])) / median(heights)

    def measure(self, opened: EventLifecycle) -> tuple[Quantity, float, float, str]:
        """The speed."""
        return "speed", opened.state.speed or 0.0, self.settings.limit, "heights/s"

    def on_track_end(self, track: TrackState) -> list[Event]:
        self.top_speeds.pop(track.track_id, None)
        return super().on_track_end(track)


def is_cut_off(box: Box) -> bool:
    """True if a box touches the edge of the frame."""
    return min(box.left, box.top) < _EDGE or max(box.right, box.bottom) > 1 - _EDGE
