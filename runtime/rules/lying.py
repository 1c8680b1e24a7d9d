"""The rule `lying`: a person lies on the ground, seen as a box that is wide and still.

A box is wide if its width, in pixels, is at least `aspect` times its height. It is still if its middle has stayed,
over the last second, within `movement` of its longer edge.

A person who lies along the view of the camera has a tall box and is not seen; one who bends over a table or sits behind
it has a wide one. Restrict the rule to the floor by a polygon. A detector that does not know lying people finds none:
try it with pictures of the site.
"""

from __future__ import annotations

from math import hypot
from typing import Annotated

import msgspec

from ..camera.frame import Frame
from ..events.event import Quantity, SubjectState
from ..inference.prediction import Box
from . import RuleContext
from .conditions.debounce import SLACK
from .rule_base import AreaRuleSettings
from .state.event_lifecycle import EventLifecycle
from .state.track_state import TrackState
from .track_rule import TrackRule, state_from_zones

STILL_SECONDS = 1.0
"""Seconds over which the movement of a box is measured."""


class LyingSettings(AreaRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "lying"`."""

    seconds: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    """Seconds from which lying still is reported."""
    aspect: Annotated[float, msgspec.Meta(ge=1)] = 1.2
    """Width of the box, divided by its height, from which a person lies."""
    movement: Annotated[float, msgspec.Meta(gt=0)] = 0.25
    """Largest movement within a second, as a fraction of the longer edge of the box."""


class LyingRule(TrackRule):
    """Reports people who lie still."""

    Settings = LyingSettings
    path_seconds = STILL_SECONDS

    def __init__(self, settings: LyingSettings, context: RuleContext) -> None:
        self.settings = settings
        super().__init__(settings, context, min_seconds=settings.seconds)

    def evaluate_track(self, frame: Frame, track: TrackState) -> SubjectState | None:
        height, width = frame.pixels.shape[:2]
        if not track.inside or not self.is_lying(track, width / height):
            return None
        return state_from_zones(track)

    def is_lying(self, track: TrackState, frame_aspect: float) -> bool:
        """True if the box is wide, and still unless the event is open; frame_aspect: width divided by height."""
        if measure_aspect(track.boxes[-1], frame_aspect) < self.settings.aspect:
            return False
        opened = self.lifecycles.open_events.get(track.track_id)
        return (opened is not None and bool(opened.event)) or self.is_still(track, frame_aspect)

    def is_still(self, track: TrackState, frame_aspect: float) -> bool:
        """True if the middle of the box has not moved over the last second; frame_aspect: width divided by height."""
        now, box = track.path[-1][0], track.boxes[-1]
        longer = max((box.right - box.left) * frame_aspect, box.bottom - box.top)
        x, y = find_middle(box, frame_aspect)
        recent = [
            find_middle(earlier, frame_aspect)
            for (when, _), earlier in zip(track.path, track.boxes, strict=True)
            if when >= now - STILL_SECONDS - SLACK
        ]
        return all(hypot(x - left, y - top) <= self.settings.movement * longer for left, top in recent)

    def measure(self, opened: EventLifecycle) -> tuple[Quantity, float, float, str]:
        """The seconds of lying."""
        return "seconds", opened.state.seconds, self.lifecycles.min_seconds, "s"


def measure_aspect(box: Box, frame_aspect: float) -> float:
    """Width of a box divided by its height, in pixels."""
    tall = box.bottom - box.top
    return (box.right - box.left) * frame_aspect / tall if tall > 0 else 0.0


def find_middle(box: Box, frame_aspect: float) -> tuple[float, float]:
    """The middle of a box, in heights of the frame."""
    return (box.left + box.right) / 2 * frame_aspect, (box.top + box.bottom) / 2
