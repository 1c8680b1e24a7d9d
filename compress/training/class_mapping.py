"""Which of a detector's own classes are the new ones: what it gives without training, and what training begins with.

An old class belongs to the new class of the same name. Any other old class belongs to the new class whose objects it
finds in the training images: most of its boxes that lie on an object (IoU of 0.5 or more), weighted by their scores,
lie on objects of that class, and they are a fifth or more of all its boxes. An old class of which the training images
show nothing belongs to none.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from vedette.runtime.evaluation.annotated_object import AnnotatedObject
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.tracking.assignment import box_array, iou_matrix

MIN_IOU = 0.5
MIN_SCORE = 0.2
_MIN_SHARE = 0.2  # of an old class's boxes


def map_classes(
    old: Sequence[str],
    new: Sequence[str],
    truth: Sequence[Sequence[AnnotatedObject]],
    detections: Sequence[Sequence[Prediction]],
) -> list[list[int]]:
    """For each new class, the indices of its old classes.

    Args:
        old: labels of the detector
        new: labels of the objects
        truth: objects of the training images
        detections: of the detector, in the same images
    """
    votes = np.zeros((len(new) + 1, len(old)))
    number = {label: index for index, label in enumerate(old)}
    for objects, found in zip(truth, detections, strict=True):
        boxes = [each for each in found if each.score >= MIN_SCORE]
        iou = iou_matrix(box_array(each.box for each in objects), box_array(each.box for each in boxes))
        for column, detection in enumerate(boxes):
            best = int(iou[:, column].argmax()) if len(objects) else -1
            row = objects[best].label if best >= 0 and iou[best, column] >= MIN_IOU else len(new)
            votes[row, number[detection.label]] += detection.score
    sources: list[list[int]] = [[] for _ in new]
    for column, label in enumerate(old):
        total, best = votes[:, column].sum(), int(votes[:-1, column].argmax())
        if label in new:
            sources[list(new).index(label)].append(column)
        elif votes[best, column] > max(votes[:-1, column].sum() / 2, _MIN_SHARE * total):
            sources[best].append(column)
    return sources


def relabel_detections(
    detections: Sequence[Sequence[Prediction]],
    old: Sequence[str],
    new: Sequence[str],
    sources: Sequence[Sequence[int]],
    max_iou: float,
) -> list[tuple[Prediction, ...]]:
    """The same boxes under the new labels.

    Of boxes of one label that overlap by more than `max_iou`, the best stays.
    """
    new_label = {old[column]: new[row] for row, columns in enumerate(sources) for column in columns}
    relabeled = []
    for found in detections:
        renamed = [msgspec.structs.replace(e, label=new_label[e.label]) for e in found if e.label in new_label]
        renamed.sort(key=lambda each: -each.score)
        boxes = box_array(each.box for each in renamed)
        iou, kept = iou_matrix(boxes, boxes), list[int]()
        for row, each in enumerate(renamed):
            if all(renamed[other].label != each.label or iou[row, other] <= max_iou for other in kept):
                kept.append(row)
        relabeled.append(tuple(renamed[row] for row in kept))
    return relabeled
