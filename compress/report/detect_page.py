"""The report of an object detector: test images with the boxes of float and int8, and where the two disagree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.evaluation.annotated_object import AnnotatedObject
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.tracking.assignment import box_array, iou_matrix

from ..evaluation.built_models import FLOAT, INT8_ONNX
from ..evaluation.disagreement import ImageComparison, rank_comparisons
from ..evaluation.max_f1_threshold import MIN_IOU
from .task_report_section import DisagreementSection, TaskReportSection
from .thumbnails import read_scaled, to_data_url

LONGER_SIDE = 360  # pixels
MAX_SAMPLES = 8
_TRUTH_COLOR, _FLOAT_COLOR, _INT8_COLOR = (255, 255, 255), (200, 120, 0), (0, 60, 230)  # blue-green-red


def detection_context(
    paths: Sequence[Path],
    truth: Sequence[Sequence[AnnotatedObject]],
    detections: dict[str, list[tuple[Prediction, ...]]],
    thresholds: tuple[float, float],
    labels: Sequence[str],
) -> TaskReportSection:
    """The object detector's part of the report.

    Args:
        paths: test images
        truth: annotated objects of each image
        detections: detections of each image by model, those below the threshold too
        thresholds: score thresholds of the float and of the int8 models
        labels: class names of the model
    """
    fp32, int8 = (
        [[each for each in detected if each.score >= level] for detected in detections[model]]
        for model, level in zip((FLOAT, INT8_ONNX), thresholds, strict=True)
    )
    samples = [
        {
            "name": path.name,
            "text": f"{len(objects)} annotated; int8 detects {_describe(after)}",
            "image": to_data_url(_draw_detections(path, objects, before, after)),
        }
        for path, objects, before, after in list(zip(paths, truth, fp32, int8, strict=True))[:MAX_SAMPLES]
    ]
    return TaskReportSection(
        template="detect.html",
        disagreement=_disagreement(paths, fp32, int8),
        variables={
            "samples": samples,
            "float_threshold": thresholds[0],
            "classes": _count_by_class(truth, fp32, int8, labels),
        },
    )


def _disagreement(
    paths: Sequence[Path], fp32: list[list[Prediction]], int8: list[list[Prediction]]
) -> DisagreementSection:
    comparisons = []
    for index, (path, before, after) in enumerate(zip(paths, fp32, int8, strict=True)):
        matches, most = _count_matches(before, after), max(len(before), len(after))
        gap = 1 - matches / most if most else 0.0
        comparisons.append(ImageComparison(index, path, _describe(before), _describe(after), matches < most, gap))
    criterion = "where the answer is every box at or above the model's own threshold, matched at an IoU of 0.5"

    def draw(comparison: ImageComparison) -> NDArray[Any]:
        return _draw_detections(comparison.path, (), fp32[comparison.index], int8[comparison.index])

    return DisagreementSection.render(rank_comparisons(comparisons, criterion), draw)


def _count_matches(first: Sequence[Prediction], second: Sequence[Prediction]) -> int:
    """Number of boxes of one class in both lists that overlap by MIN_IOU, each matched once."""
    iou = iou_matrix(box_array(each.box for each in first), box_array(each.box for each in second))
    free, count = list(range(len(second))), 0
    for row, detection in enumerate(first):
        overlaps = [(iou[row, column], column) for column in free if second[column].label == detection.label]
        best, best_column = max(overlaps, default=(0.0, -1))
        if best >= MIN_IOU:
            free.remove(best_column)
            count += 1
    return count


def _describe(detections: Sequence[Prediction]) -> str:
    names = [each.label for each in detections]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "nothing"


def _count_by_class(
    truth: Sequence[Sequence[AnnotatedObject]],
    fp32: list[list[Prediction]],
    int8: list[list[Prediction]],
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    """Annotated and detected objects of each class, the most frequent class first."""
    counts = np.zeros((3, len(labels)), int)
    for objects in truth:
        for annotated in objects:
            counts[0, annotated.label] += not annotated.crowd
    for row, detections in ((1, fp32), (2, int8)):
        for detected in detections:
            for prediction in detected:
                counts[row, labels.index(prediction.label)] += 1
    return [
        {
            "label": labels[index],
            "annotated": int(counts[0, index]),
            "fp32": int(counts[1, index]),
            "int8": int(counts[2, index]),
        }
        for index in np.argsort(-counts[0], kind="stable")
        if counts[:, index].any()
    ]


def _draw_detections(
    path: Path, truth: Sequence[AnnotatedObject], fp32: Sequence[Prediction], int8: Sequence[Prediction]
) -> NDArray[Any]:
    """The image with boxes: white for annotated objects, blue for float, red for int8."""
    image = read_scaled(path, LONGER_SIDE)
    for annotated in truth:
        draw_box(image, annotated.box, _TRUTH_COLOR, 1, "")
    for detection in fp32:
        draw_box(image, detection.box, _FLOAT_COLOR, 2, "")
    for detection in int8:
        draw_box(image, detection.box, _INT8_COLOR, 1, f"{detection.label} {detection.score:.2f}")
    return image


def draw_box(image: NDArray[Any], box: Box | None, color: tuple[int, int, int], thickness: int, text: str) -> None:
    """Draws a box, and a text into its corner, into an image, H x W x 3."""
    if box is None:
        return
    height, width = image.shape[:2]
    start = int(box.left * width), int(box.top * height)
    cv2.rectangle(image, start, (int(box.right * width), int(box.bottom * height)), color, thickness)
    if text:
        place = start[0] + 2, max(start[1] + 11, 11)
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.35, color, 1, cv2.LINE_AA)
