"""Gives each thing a number that it keeps, as ByteTrack does (arXiv 2110.06864).

    detections above high_score     join tracks that are followed or lost, most overlap first
    those between low and high      join followed tracks that found none: somebody half hidden is seen less surely
    high ones that are left         join tracks that are still where they were last seen: who stopped or turned round
    the rest of the high ones       begin a track, told of once it was seen `confirm` times in a row
    tracks that found none          are lost; they move on as they did, and are given up after `keep` seconds

Nothing is taken away: a detection without a track passes as it is. Time goes by `frame.taken`, so a recording gives the
same numbers whenever it is played. Numbers count from 1 with each start of the daemon.

It knows no faces: two people who meet and part again behind a pillar may come out with their numbers changed, and who
was hidden for longer than `keep` comes back as somebody new. A thing whose label changes is a new thing. A lost track
that has moved out of the picture is given up at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from ..camera.frame import Frame
from ..config.tracker_table import TrackerSettings
from ..inference.prediction import Prediction
from .assignment import Boxes, overlap, pairs
from .kalman import Motion

_FULL = 0.2  # seconds after which boxes are grown by all of `buffer`; by less before: at 30 a second nobody jumps


class _Track:
    def __init__(self, label: str, box: Boxes, taken: float) -> None:
        self.label = label
        self.motion = Motion(box)
        self.number = 0  # until it is confirmed
        self.hits = 1
        self.misses = 0
        self.seen = taken
        self.box = box
        """Where it was last seen."""

    def found(self, box: Boxes, taken: float) -> None:
        self.motion.update(box)
        self.hits += 1
        self.misses = 0
        self.seen, self.box = taken, box


class Tracker:
    """See above."""

    def __init__(self, settings: TrackerSettings, threshold: float) -> None:
        """`threshold`: the bundle's, for scores that the settings leave open."""
        self.settings = settings
        self.high = threshold if settings.high_score is None else settings.high_score
        self.low = self.high / 2 if settings.low_score is None else settings.low_score
        self.tracks: list[_Track] = []
        self.last = float("-inf")
        self.numbers = 0

    def follow(self, frame: Frame, seen: tuple[Prediction, ...]) -> tuple[Prediction, ...]:
        """The same predictions in the same order, with the track of each that has one."""
        self._move(frame)
        boxes, sure, unsure = self._sorted(frame, seen)
        owners: dict[int, _Track] = {}
        known = [track for track in self.tracks if track.number]
        followed = [track for track in known if not track.misses]
        fresh = [track for track in self.tracks if not track.number]
        for tracks, indices, place in (
            (known, sure, _expected),
            (followed, unsure, _expected),
            (known, sure, _last_seen),
            (fresh, sure, _expected),
        ):
            self._join(frame, tracks, indices, seen, boxes, owners, place)
        for index, track in owners.items():
            track.found(boxes[index], frame.taken)
        self._let_go(set(owners.values()))
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
        """All tracks to where they should be by now. Who was missed for too long, or has left, is given up."""
        if frame.taken < self.last:
            self.tracks.clear()
        seconds, self.last = frame.taken - self.last, frame.taken
        for track in self.tracks:
            track.motion.predict(seconds)
        keep = self.settings.keep
        self.tracks = [each for each in self.tracks if frame.taken - each.seen <= keep and _inside(each, frame)]

    def _sorted(self, frame: Frame, seen: Sequence[Prediction]) -> tuple[Boxes, list[int], list[int]]:
        """Every box in heights of the picture; which detections are sure; which are less so."""
        boxes = np.array([_edges(each) for each in seen], np.float64).reshape(-1, 4) * _unit(frame)
        boxed = [index for index, box in enumerate(boxes) if box[0] < box[2] and box[1] < box[3]]
        sure = [index for index in boxed if seen[index].score >= self.high]
        return boxes, sure, [index for index in boxed if self.low <= seen[index].score < self.high]

    def _join(
        self,
        frame: Frame,
        tracks: list[_Track],
        indices: list[int],
        seen: Sequence[Prediction],
        boxes: Boxes,
        owners: dict[int, _Track],
        place: Callable[[_Track], Boxes],
    ) -> None:
        """Notes in `owners` which of the detections `indices` is which of the `tracks`, where neither is taken."""
        tracks = [track for track in tracks if track not in owners.values()]
        indices = [index for index in indices if index not in owners]
        if not tracks or not indices:
            return
        waited = np.array([frame.taken - track.seen for track in tracks])
        buffer = self.settings.buffer * np.minimum(waited / _FULL, 1.0)
        scores = overlap(np.array([place(track) for track in tracks]), boxes[indices], buffer)
        for row, track in enumerate(tracks):
            scores[row, [seen[index].label != track.label for index in indices]] = 0.0
        for row, column in pairs(scores, self.settings.iou):
            owners[indices[column]] = tracks[row]

    def _let_go(self, found: set[_Track]) -> None:
        """Counts who was missed in this frame; forgets what is new and was missed."""
        for track in self.tracks:
            track.misses += track not in found
        self.tracks = [track for track in self.tracks if track.number or not track.misses]


def _expected(track: _Track) -> Boxes:
    return track.motion.box


def _last_seen(track: _Track) -> Boxes:
    return track.box


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
