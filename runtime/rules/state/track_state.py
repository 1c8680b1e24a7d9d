"""What a rule remembers of each track.

A track counts from the frame in which its score first reaches `min_score`; lower scores later change nothing. While it
is not detected, it stays where it was last detected, until the tracker ends it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ...camera.frame import Frame
from ...config.polygon import Point
from ...inference.prediction import Box, Prediction, foot_point
from ..conditions.debounce import SLACK, Debounce
from ..conditions.region import RuleArea


class TrackState:
    """The path and the zones of one track."""

    def __init__(self, track_id: int) -> None:
        self.track_id = track_id
        self.prediction: Prediction
        """Its last detection."""
        self.last_moment = 0.0
        """Moment of its last detection."""
        self.top_score = float("-inf")
        self.path: deque[tuple[float, Point]] = deque()
        """Moments and foot points, the newest last."""
        self.boxes: deque[Box] = deque()
        """The boxes at those moments."""
        self.inside: tuple[str, ...] = ()
        """The zones of its foot point in the last frame, not debounced."""
        self.stays: dict[str, Debounce] = {}
        self.entered: list[str] = []

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones that it is in, debounced."""
        return tuple(name for name, stay in self.stays.items() if stay.value)


class TrackStates:
    """The tracks that count for a rule."""

    def __init__(
        self, labels: frozenset[str], min_score: float, area: RuleArea, debounce_seconds: float, max_lost_seconds: float
    ) -> None:
        """Starts without tracks.

        Args:
            labels: labels that count
            min_score: score that a track must have reached once
            area: the zones
            debounce_seconds: seconds of the debounce of zones
            max_lost_seconds: seconds after which a track without detections ends
        """
        self.labels, self.min_score, self.area = labels, min_score, area
        self.debounce_seconds, self.max_lost_seconds = debounce_seconds, max_lost_seconds
        self.by_id: dict[int, TrackState] = {}

    def update(self, frame: Frame, predictions: Iterable[Prediction], path_seconds: float) -> list[TrackState]:
        """The tracks in this frame; `path_seconds`: seconds of the path that each remembers."""
        visible = []
        for each in predictions:
            if each.track is None or each.box is None or each.label not in self.labels:
                continue
            track = self.by_id.setdefault(each.track, TrackState(each.track))
            track.prediction, track.last_moment, point = each, frame.moment, foot_point(each.box)
            track.top_score = max(track.top_score, each.score)
            track.path.append((frame.moment, point))
            track.boxes.append(each.box)
            while len(track.path) > 2 and track.path[0][0] < frame.moment - path_seconds - SLACK:
                track.path.popleft()
                track.boxes.popleft()
            if track.top_score >= self.min_score:
                self._update_zones(track, point, frame.moment)
                visible.append(track)
        return visible

    def drop_lost_tracks(self, moment: float) -> list[TrackState]:
        """Removes and returns the tracks that have not been detected for too long."""
        lost = [track for track in self.by_id.values() if moment - track.last_moment > self.max_lost_seconds + SLACK]
        for track in lost:
            del self.by_id[track.track_id]
        return lost

    def counts(self) -> dict[str, int]:
        """Number of tracks in each zone."""
        return {name: sum(name in track.zones for track in self.by_id.values()) for name in self.area.zones}

    def _update_zones(self, track: TrackState, point: Point, moment: float) -> None:
        track.inside = self.area.zones_at(point)
        for name in self.area.zones:
            stay = track.stays.setdefault(name, Debounce(self.debounce_seconds))
            if stay.update(name in track.inside, moment) and name not in track.entered:
                track.entered.append(name)
