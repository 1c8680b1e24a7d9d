"""Base of the rules that evaluate tracks.

A subclass decides in `evaluate_track` whether its condition holds for one track in one frame, if it is another one than
"in the area". Everything else is here, in state/track_state.py and in state/event_lifecycle.py.
"""

from __future__ import annotations

from typing import Any

from ..camera.frame import Frame
from ..events.event import Event, SubjectState
from ..inference.prediction import Prediction
from . import RuleContext
from .conditions.label_filter import select_labels
from .conditions.region import RuleArea
from .rule_base import RuleBase
from .state.track_state import TrackState, TrackStates


class TrackRule(RuleBase):
    """A rule with one event for each track."""

    needs_tracks = True
    path_seconds = 0.0
    """Seconds of a track's path that the rule needs."""

    def __init__(
        self, settings: Any, context: RuleContext, area: RuleArea | None = None, min_seconds: float = 0.0
    ) -> None:
        super().__init__(settings, context, area, min_seconds)
        labels = select_labels(settings.labels, context)
        self.tracks = TrackStates(labels, self.least_score, self.area, settings.inertia, context.max_lost_seconds)

    def observe(self, frame: Frame, predictions: tuple[Prediction, ...]) -> list[Event]:
        events = self.close() if self.time_went_back(frame) else []
        if not self.schedule.is_active(frame.taken):
            return events + self.close()
        for track in self.tracks.drop_lost_tracks(frame.moment):
            events += self.on_track_end(track)
        tracks = self.tracks.update(frame, predictions, self.path_seconds)
        return events + self.events_for_frame(frame, tracks)

    def close(self) -> list[Event]:
        """Ends all open events, each dated to the last frame with its condition."""
        events = []
        for track in list(self.tracks.by_id.values()):
            del self.tracks.by_id[track.track_id]
            events += self.on_track_end(track)
        return events

    def events_for_frame(self, frame: Frame, tracks: list[TrackState]) -> list[Event]:
        """The events about the tracks in a frame."""
        events = []
        for track in tracks:
            events += self.lifecycles.update(
                frame, track.track_id, self.evaluate_track(frame, track), (track.prediction,), track.top_score
            )
        return events

    def evaluate_track(self, frame: Frame, track: TrackState) -> SubjectState | None:
        """The state of a track in this frame, by default that it is in the area; None: the condition does not hold."""
        return state_from_zones(track) if track.inside else None

    def on_track_end(self, track: TrackState) -> list[Event]:
        """The events about a track that has ended."""
        return self.lifecycles.end(track.track_id)


def state_from_zones(track: TrackState) -> SubjectState:
    """The zones that a track is in, and those that it has been in."""
    return SubjectState(zones=track.zones or track.inside, entered_zones=tuple(track.entered) or track.inside)
