"""Operating point of an object detector: the score threshold with the highest F1 on held-out images.

A detection is a true positive if its IoU with an annotated object of its class is at least 0.5, and no detection with a
higher score has matched that object, as COCO counts. The threshold maximizes F1, the harmonic mean of precision and
recall. With few objects it is a rough estimate, and a rule may require more (`threshold` in the camera's file).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from vedette.runtime.evaluation.annotated_object import AnnotatedObject
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.tracking.assignment import box_array, iou_matrix

MIN_IOU = 0.5
DEFAULT_THRESHOLD = 0.3  # without annotated objects or detections


class OperatingPoint(msgspec.Struct, frozen=True):
    """A score threshold, with precision and recall on the images that it was chosen or evaluated on."""

    threshold: float = msgspec.field(name="score")
    precision: float
    recall: float
    f1: float
    objects: int


def choose_operating_point(
    truth: Sequence[Sequence[AnnotatedObject]], detections: Sequence[Sequence[Prediction]], labels: Sequence[str]
) -> OperatingPoint:
    """The threshold with the highest F1; DEFAULT_THRESHOLD without annotated objects or detections.

    Args:
        truth: annotated objects of each image
        detections: detections of each image, including those with a low score
        labels: class names of the model
    """
    matches = sorted(
        (
            (detection.score, correct)
            for objects, found in zip(truth, detections, strict=True)
            for detection, correct in _match_detections(objects, found, labels)
        ),
        key=lambda match: -match[0],
    )
    object_count = _count_objects(truth)
    best, true_positives = OperatingPoint(DEFAULT_THRESHOLD, 0.0, 0.0, 0.0, object_count), 0
    for count, (score, correct) in enumerate(matches, start=1):
        true_positives += correct
        f1 = 2 * true_positives / (count + object_count)
        next_score = matches[count][0] if count < len(matches) else 0.0
        if correct and f1 > best.f1 and next_score < score:
            precision, recall = true_positives / count, true_positives / object_count
            best = OperatingPoint((score + next_score) / 2, precision, recall, f1, object_count)
    return best


def evaluate_threshold(
    threshold: float,
    truth: Sequence[Sequence[AnnotatedObject]],
    detections: Sequence[Sequence[Prediction]],
    labels: Sequence[str],
) -> OperatingPoint:
    """Precision and recall of a threshold.

    Args:
        threshold: the least score of a detection
        truth: annotated objects of each image
        detections: detections of each image
        labels: class names of the model
    """
    above = [[detection for detection in found if detection.score >= threshold] for found in detections]
    matches = [
        correct
        for objects, found in zip(truth, above, strict=True)
        for _, correct in _match_detections(objects, found, labels)
    ]
    object_count = _count_objects(truth)
    true_positives = sum(matches)
    return OperatingPoint(
        threshold,
        true_positives / len(matches) if matches else 0.0,
        true_positives / object_count if object_count else 0.0,
        2 * true_positives / (len(matches) + object_count) if matches or object_count else 0.0,
        object_count,
    )


def _count_objects(truth: Sequence[Sequence[AnnotatedObject]]) -> int:
    """Number of annotated objects, without crowd regions."""
    return sum(not annotated.crowd for objects in truth for annotated in objects)


def _match_detections(
    truth: Sequence[AnnotatedObject], found: Sequence[Prediction], labels: Sequence[str]
) -> list[tuple[Prediction, bool]]:
    """The detections of one image by descending score, and whether each is a true positive.

    Detections that match a crowd region are neither right nor wrong and are left out.
    """
    detections = sorted((each for each in found if each.box is not None), key=lambda each: -each.score)
    iou = iou_matrix(box_array(each.box for each in truth), box_array(each.box for each in detections))
    unmatched = [index for index, annotated in enumerate(truth) if not annotated.crowd]
    crowds = [index for index, annotated in enumerate(truth) if annotated.crowd]
    matches = []
    for column, detection in enumerate(detections):
        overlaps = [(iou[index, column], index) for index in unmatched if labels[truth[index].label] == detection.label]
        best, best_index = max(overlaps, default=(0.0, -1))
        if best >= MIN_IOU:
            unmatched.remove(best_index)
        elif any(labels[truth[index].label] == detection.label and iou[index, column] >= MIN_IOU for index in crowds):
            continue
        matches.append((detection, bool(best >= MIN_IOU)))
    return matches
