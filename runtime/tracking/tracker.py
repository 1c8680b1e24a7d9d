"""Gives each thing a number that it keeps, as ByteTrack does (arXiv 2110.06864).

    detections above high_score     join tracks that are followed or lost, most overlap first
    those between low and high      join followed tracks that found none: somebody half hidden is seen less surely
    high ones that are left         begin a track, told of once it was seen `confirm` times in a row
    tracks that found none          are lost; they move on as they did, and are given up after `keep` seconds

Nothing is taken away: a detection without a track passes as it is. Time goes by `frame.taken`, so a recording gives the
same numbers whenever it is played. Numbers count from 1 with each start of the daemon.

It knows no faces: two people who meet and part again behind a pillar may come out with their numbers changed, and who
was hidden for longer than `keep` comes back as somebody new. A thing whose label changes is a new thing. A lost track
that has moved out of the picture is given up at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from ..frame import Frame
from ..prediction import Prediction
from .assignment import Boxes, overlap, pairs
from .kalman import Motion
from .settings import TrackerSettings


class _Track:
    def __init__(self, label: str, box: Boxes, taken: float) -> None:
        self.label = label
        self.motion = Motion(box)
        self.number = 0  # until it is confirmed
        self.hits = 1
        self.misses = 0
        self.seen = taken

    def found(self, box: Boxes, taken: float) -> None:
        self.motion.update(box)
        self.hits += 1
        self.misses = 0
        self.seen = taken


class Tracker:
    """See above."""

    def __init__(self, settings: TrackerSettings, threshold: float) -> None:
        """`threshold`: the bundle's, for scores that the settings leave open."""
        self.settings = settings
        self.high = threshold if settings.high_score is None else settings.high_score
        self.low = self.high / 2 if settings.low_score is None else settings.low_score
        self.tracks: list[_Track] = []
        self.last: float | None = None
        self.numbers = 0

    def follow(self, frame: Frame, seen: tuple[Prediction, ...]) -> tuple[Prediction, ...]:
        """The same predictions in the same order, with the track of each that has one."""
        self._move(frame)
        boxes, sure, unsure = self._sorted(frame, seen)
        owners: dict[int, _Track] = {}
        known = [track for track in self.tracks if track.number]
        followed = [track for track in known if not track.misses]
        fresh = [track for track in self.tracks if not track.number]
        for tracks, indices in ((known, sure), (followed, unsure), (fresh, sure)):
            self._join(tracks, indices, seen, boxes, owners)
        for index, track in owners.items():
            track.found(boxes[index], frame.taken)
        self._let_go(frame, set(owners.values()))
        for index in sure:
            if index not in owners:
                owners[index] = _Track(seen[index].label, boxes[index], frame.taken)
                self.tracks.append(owners[index])
        for _, track in sorted(owners.items()):
            if not track.number and track.hits >= self.settings.confirm:
                self.numbers += 1
                track.number = self.numbers
        return tuple(_marked(each, owners.get(index)) for index, each in enumerate(seen))

    def _move(self, frame: Frame) -> None:
        """All tracks to where they should be by now. A frame that is not later than the last moves nothing."""
        seconds = 0.0 if self.last is None else max(frame.taken - self.last, 0.0)
        self.last = frame.taken
        for track in self.tracks:
            track.motion.predict(seconds)

    def _sorted(self, frame: Frame, seen: Sequence[Prediction]) -> tuple[Boxes, list[int], list[int]]:
        """Every box in heights of the picture; which detections are sure; which are less so."""
        boxes = np.array([_edges(each) for each in seen], np.float64).reshape(-1, 4) * _unit(frame)
        boxed = [index for index, each in enumerate(seen) if each.box is not None]
        sure = [index for index in boxed if seen[index].score >= self.high]
        return boxes, sure, [index for index in boxed if self.low <= seen[index].score < self.high]

    def _join(
        self,
        tracks: list[_Track],
        indices: list[int],
        seen: Sequence[Prediction],
        boxes: Boxes,
        owners: dict[int, _Track],
    ) -> None:
        """Notes in `owners` which of the detections `indices` is which of the `tracks`, where neither is taken."""
        tracks = [track for track in tracks if track not in owners.values()]
        indices = [index for index in indices if index not in owners]
        if not tracks or not indices:
            return
        scores = overlap(np.array([track.motion.box for track in tracks]), boxes[indices], self.settings.buffer)
        for row, track in enumerate(tracks):
            scores[row, [seen[index].label != track.label for index in indices]] = 0.0
        for row, column in pairs(scores, self.settings.iou):
            owners[indices[column]] = tracks[row]

    def _let_go(self, frame: Frame, found: set[_Track]) -> None:
        """Counts who was missed in this frame; forgets what is new or was missed for too long, or has left."""
        kept = []
        for track in self.tracks:
            if track in found:
                kept.append(track)
                continue
            track.misses += 1
            if track.number and frame.taken - track.seen <= self.settings.keep and _inside(track, frame):
                kept.append(track)
        self.tracks = kept


def _edges(seen: Prediction) -> Iterable[float]:
    box = seen.box
    return (0.0, 0.0, 0.0, 0.0) if box is None else (box.left, box.top, box.right, box.bottom)


def _unit(frame: Frame) -> Boxes:
    """Turns fractions of the frame into heights of the picture, in which both directions are equally long."""
    height, width = frame.pixels.shape[:2]
    return np.array([width / height, 1.0, width / height, 1.0])


def _inside(track: _Track, frame: Frame) -> bool:
    left, top, right, bottom = track.motion.box / _unit(frame)
    return bool(right > 0 and bottom > 0 and left < 1 and top < 1)


def _marked(seen: Prediction, track: _Track | None) -> Prediction:
    if track is None or not track.number:
        return seen
    return msgspec.structs.replace(seen, track=track.number)
