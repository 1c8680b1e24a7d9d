"""The tracker: gives each object a number that it keeps, as ByteTrack does (arXiv 2110.06864).

    detections above high_score     are assigned to tracks by IoU with their predicted boxes
    those between low and high      are assigned to tracks that found none: partly hidden objects have lower scores
    high ones that are left         are assigned to tracks by their last box: objects that stopped or turned round
    those that overlap with none    are joined to the one track within reach: objects that run past or fall
    the rest of the high ones       start tracks, which get a number after `confirm` frames in a row
    tracks that found none          are lost; they move on at their velocity, and end after `keep` seconds

No prediction is removed: one without a track passes unchanged. Time is `frame.moment`, so a recording gives the same
numbers at each replay. Numbers count from 1 at each start of the daemon.

The tracker does not compare appearances: two people who meet behind a pillar may swap numbers, and a person who was
hidden for longer than `keep` gets a new one. A new label starts a new track. A lost track that leaves the frame ends at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np

from ..camera.frame import Frame
from ..config.tracker_table import TrackerSettings
from ..inference.prediction import Prediction
from .assignment import Boxes, assign, assign_undoubted, box_array, iou_matrix, nearness_matrix
from .kalman import BoxKalmanFilter

_FULL_BUFFER_SECONDS = 0.2  # time since the last detection from which boxes grow by all of `buffer`, not a part
_REACH_SECONDS = 0.5  # time since the last detection from which the distance grows no more


class _Track:
    def __init__(self, label: str, box: Boxes, moment: float) -> None:
        self.label = label
        self.filter = BoxKalmanFilter(box)
        self.number = 0  # until it is confirmed
        self.hits = 1
        self.misses = 0
        self.last_seen = moment
        self.box = box
        """Its last detected box."""

    def update(self, box: Boxes, moment: float) -> None:
        self.filter.update(box)
        self.hits += 1
        self.misses = 0
        self.last_seen, self.box = moment, box


class Tracker:
    """Assigns track numbers to the predictions of consecutive frames."""

    def __init__(self, settings: TrackerSettings, threshold: float) -> None:
        """Takes the settings, and the bundle's threshold for scores that they leave open."""
        self.settings = settings
        self.high_threshold = threshold if settings.high_score is None else settings.high_score
        self.low_threshold = self.high_threshold / 2 if settings.low_score is None else settings.low_score
        self.tracks: list[_Track] = []
        self.last_moment = float("-inf")
        self.track_count = 0

    def update(self, frame: Frame, predictions: tuple[Prediction, ...]) -> tuple[Prediction, ...]:
        """The predictions in the same order, each with its track number, if it has one."""
        self._predict_tracks(frame)
        boxes, high, low = self._split_by_score(frame, predictions)
        owners: dict[int, _Track] = {}
        confirmed = [track for track in self.tracks if track.number]
        visible = [track for track in confirmed if not track.misses]
        unconfirmed = [track for track in self.tracks if not track.number]
        best = partial(assign, min_score=self.settings.iou)
        for tracks, indices, score, choose in (
            (confirmed, high, self._score_predicted_places, best),
            (visible, low, self._score_predicted_places, best),
            (confirmed, high, self._score_last_places, best),
            (unconfirmed, high, self._score_predicted_places, best),
            (self.tracks, high, self._score_distances, assign_undoubted),
        ):
            self._assign_detections(frame, tracks, indices, predictions, boxes, owners, score, choose)
        for index, track in owners.items():
            track.update(boxes[index], frame.moment)
        self._mark_lost(set(owners.values()))
        for index in high:
            if index not in owners:
                owners[index] = _Track(predictions[index].label, boxes[index], frame.moment)
                self.tracks.append(owners[index])
        for _, track in sorted(owners.items()):
            if not track.number and track.hits >= self.settings.confirm:
                self.track_count += 1
                track.number = self.track_count
        return tuple(_with_track(each, owners.get(index)) for index, each in enumerate(predictions))

    def _predict_tracks(self, frame: Frame) -> None:
        """Moves all tracks to their predicted boxes; ends those that were lost for too long or left the frame."""
        if frame.moment < self.last_moment:
            self.tracks.clear()
        seconds, self.last_moment = frame.moment - self.last_moment, frame.moment
        for track in self.tracks:
            track.filter.predict(seconds)
        keep = self.settings.keep
        self.tracks = [
            each for each in self.tracks if frame.moment - each.last_seen <= keep and _is_in_frame(each, frame)
        ]

    def _split_by_score(self, frame: Frame, predictions: Sequence[Prediction]) -> tuple[Boxes, list[int], list[int]]:
        """All boxes in heights of the frame, the indices of high scores, and those of low scores."""
        boxes = box_array(each.box for each in predictions) * _fractions_to_heights(frame)
        valid = [index for index, box in enumerate(boxes) if box[0] < box[2] and box[1] < box[3]]
        high = [index for index in valid if predictions[index].score >= self.high_threshold]
        return (
            boxes,
            high,
            [index for index in valid if self.low_threshold <= predictions[index].score < self.high_threshold],
        )

    def _assign_detections(
        self,
        frame: Frame,
        tracks: list[_Track],
        indices: list[int],
        predictions: Sequence[Prediction],
        boxes: Boxes,
        owners: dict[int, _Track],
        score: Callable[[list[_Track], Boxes, Boxes], Boxes],
        choose: Callable[[Boxes], list[tuple[int, int]]],
    ) -> None:
        """Assigns the detections `indices` to `tracks`, where neither is assigned yet, and notes that in `owners`.

        `score` takes tracks, the boxes of detections, and the seconds since each track was last seen; `choose` takes
        the scores, and gives the pairs.
        """
        tracks = [track for track in tracks if track not in owners.values()]
        indices = [index for index in indices if index not in owners]
        if not tracks or not indices:
            return
        scores = score(tracks, boxes[indices], np.array([frame.moment - track.last_seen for track in tracks]))
        for row, track in enumerate(tracks):
            scores[row, [predictions[index].label != track.label for index in indices]] = 0.0
        for row, column in choose(scores):
            owners[indices[column]] = tracks[row]

    def _score_predicted_places(self, tracks: list[_Track], boxes: Boxes, elapsed: Boxes) -> Boxes:
        return iou_matrix(np.array([track.filter.box for track in tracks]), boxes, self._buffer(elapsed))

    def _score_last_places(self, tracks: list[_Track], boxes: Boxes, elapsed: Boxes) -> Boxes:
        return iou_matrix(np.array([track.box for track in tracks]), boxes, self._buffer(elapsed))

    def _score_distances(self, tracks: list[_Track], boxes: Boxes, elapsed: Boxes) -> Boxes:
        fresh = np.array([track.misses for track in tracks]) <= 1
        reach = self.settings.reach * np.minimum(elapsed, _REACH_SECONDS) * fresh
        return nearness_matrix(np.array([track.filter.box for track in tracks]), boxes, reach)

    def _buffer(self, elapsed: Boxes) -> Boxes:
        return np.asarray(self.settings.buffer * np.minimum(elapsed / _FULL_BUFFER_SECONDS, 1.0))

    def _mark_lost(self, matched: set[_Track]) -> None:
        """Marks tracks without a detection as lost; removes those that were never confirmed."""
        for track in self.tracks:
            track.misses += track not in matched
        self.tracks = [track for track in self.tracks if track.number or not track.misses]


def _fractions_to_heights(frame: Frame) -> Boxes:
    """Factors from fractions of the frame to heights of the frame, which are equally long in both directions."""
    height, width = frame.pixels.shape[:2]
    return np.array([width / height, 1.0, width / height, 1.0])


def _is_in_frame(track: _Track, frame: Frame) -> bool:
    left, top, right, bottom = track.filter.box / _fractions_to_heights(frame)
    return bool(right > 0 and bottom > 0 and left < 1 and top < 1)


def _with_track(prediction: Prediction, track: _Track | None) -> Prediction:
    if track is None or not track.number:
        return prediction
    return msgspec.structs.replace(prediction, track=track.number)
