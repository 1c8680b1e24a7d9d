"""The rule `fall`: a person who stood goes down quickly and stays down.

Three things must come together: the box was taller than wide; within `within` seconds it is wide, and its upper edge
has sunk by at least `drop` of the height that it had; and then it lies still for `seconds`, as in the rule `lying`.
Somebody who lies down slowly, bends and rises again, or enters the frame lying is not reported.

The tracker must keep the number of the person through the fall: a fall behind furniture is lost, and `lying` reports
it later. All limits of `lying` apply.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..camera.frame import Frame
from ..events.event import Event, SubjectState
from . import RuleContext
from .conditions.debounce import SLACK
from .lying import STILL_SECONDS, LyingRule, LyingSettings, measure_aspect
from .state.track_state import TrackState


class FallSettings(LyingSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "fall"`."""

    seconds: Annotated[float, msgspec.Meta(gt=0)] = 2.0
    """Seconds of lying still from which a fall is reported."""
    drop: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.4
    """Least sinking of the upper edge, as a fraction of the standing height."""
    within: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.5
    """Seconds in which a person falls; one who goes down more slowly lies down."""


class FallRule(LyingRule):
    """Reports people who fell and lie still."""

    Settings = FallSettings

    def __init__(self, settings: FallSettings, context: RuleContext) -> None:
        super().__init__(settings, context)
        self.drop, self.within = settings.drop, settings.within
        self.path_seconds = max(settings.within, STILL_SECONDS)
        self.fallen: set[int] = set()
        """Tracks that fell and have not stood since."""

    def evaluate_track(self, frame: Frame, track: TrackState) -> SubjectState | None:
        height, width = frame.pixels.shape[:2]
        if measure_aspect(track.boxes[-1], width / height) < 1:
            self.fallen.discard(track.track_id)
        elif self.has_dropped(track, width / height):
            self.fallen.add(track.track_id)
        return super().evaluate_track(frame, track) if track.track_id in self.fallen else None

    def has_dropped(self, track: TrackState, frame_aspect: float) -> bool:
        """True if the box is wide and was tall and higher up within the last seconds; frame_aspect: width divided by
        height.
        """
        now, box = track.path[-1][0], track.boxes[-1]
        return measure_aspect(box, frame_aspect) >= self.settings.aspect and any(
            when >= now - self.within - SLACK
            and measure_aspect(earlier, frame_aspect) < 1
            and box.top - earlier.top >= self.drop * (earlier.bottom - earlier.top)
            for (when, _), earlier in zip(track.path, track.boxes, strict=True)
        )

    def on_track_end(self, track: TrackState) -> list[Event]:
        self.fallen.discard(track.track_id)
        return super().on_track_end(track)
