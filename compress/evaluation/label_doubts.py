"""Doubtful annotated boxes: where a detector that has not learned from an image disagrees with its labels.

swapped   a box on which the detector sees another class, and its own class hardly
missing   an object that the detector sees and that no box marks
sloppy    a box that overlaps with the object that the detector sees, but not well

Each is a reason to look, not a proof: a detector errs more often than a careful person. The thresholds were chosen for
NanoDet on coco128 with errors put in (`make bench-own-classes BENCH_ARGS=--labels`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np

from vedette.runtime.evaluation.annotated_object import AnnotatedObject
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.tracking.assignment import box_array, iou_matrix

DOUBTS = ("swapped", "missing", "sloppy")
MIN_SCORES = {"swapped": 0.3, "missing": 0.5, "sloppy": 0.4}
MIN_IOU = 0.5  # of two boxes of one object
SLOPPY_IOU = 0.55
NO_OBJECT_IOU = 0.2
_OWN_SHARE = 0.5  # of the other class's score; with more for its own class, a box is not called swapped


class LabelDoubt(msgspec.Struct, frozen=True):
    """A disagreement between a detector and the labels of one image."""

    kind: Literal["swapped", "missing", "sloppy"]
    image: int
    """Index of the image."""
    label: str
    """Of the annotated box; of a missing one, as the detector sees it."""
    box: Box
    """The annotated box; of a missing one, as the detector sees it."""
    seen: str
    """What the detector sees there."""
    score: float


def find_label_doubts(
    truth: Sequence[Sequence[AnnotatedObject]], detections: Sequence[Sequence[Prediction]], labels: Sequence[str]
) -> list[LabelDoubt]:
    """The doubtful boxes of some images, those with the highest scores first.

    Args:
        truth: annotated objects of each image; crowds are not judged
        detections: in each image, of a detector that has not learned from it
        labels: of the classes
    """
    found = [
        doubt
        for image, (objects, predictions) in enumerate(zip(truth, detections, strict=True))
        for doubt in _find_in_image(image, objects, predictions, labels)
    ]
    return sorted(found, key=lambda doubt: -doubt.score)


def _find_in_image(
    image: int, objects: Sequence[AnnotatedObject], predictions: Sequence[Prediction], labels: Sequence[str]
) -> Iterator[LabelDoubt]:
    iou = iou_matrix(box_array(each.box for each in objects), box_array(each.box for each in predictions))
    scores = np.array([each.score for each in predictions])
    seen = [each.label for each in predictions]
    for row, annotated in enumerate(objects):
        if annotated.crowd or not len(predictions):
            continue
        own = np.array([label == labels[annotated.label] for label in seen])
        there = iou[row] >= MIN_IOU
        own_score = scores[own & there].max(initial=0.0)
        others = np.flatnonzero(~own & there & (scores >= MIN_SCORES["swapped"]))
        if len(others) and own_score < _OWN_SHARE * scores[others].max():
            best = int(others[scores[others].argmax()])
            yield LabelDoubt("swapped", image, labels[annotated.label], annotated.box, seen[best], float(scores[best]))
            continue
        near = np.flatnonzero(own & (iou[row] > NO_OBJECT_IOU) & (scores >= MIN_SCORES["sloppy"]))
        near = np.array([column for column in near if iou[:, column].argmax() == row], int)
        if len(near):
            best = int(near[scores[near].argmax()])
            if iou[row, best] < SLOPPY_IOU:
                label = labels[annotated.label]
                yield LabelDoubt("sloppy", image, label, annotated.box, label, float(scores[best]))
    for column, prediction in enumerate(predictions):
        unmarked = prediction.score >= MIN_SCORES["missing"] and iou[:, column].max(initial=0.0) < NO_OBJECT_IOU
        if unmarked and prediction.box is not None:
            yield LabelDoubt("missing", image, prediction.label, prediction.box, prediction.label, prediction.score)
