"""What a model answers: one decision for each image, and the scores that it follows from, alike for all tasks.

    anomaly     good or alarm, by the bundle's threshold, from one score
    classify    the likeliest class, at any confidence
    detect      the class of the strongest object at or above the threshold, or `nothing`; a score for each class

Float and int8 are decided by the same threshold, that of the bundle, because the device uses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.evaluation import coco_map
from vedette.runtime.inference.area_thresholds import AreaThresholds
from vedette.runtime.inference.heads.classify import softmax
from vedette.runtime.inference.heads.detect import DetectHead
from vedette.runtime.inference.prediction import Prediction

from ..evaluation.model_runners import Int8Runner, ModelRunner

TASKS_WITH_DECISIONS = ("anomaly", "classify", "detect")
GOOD, ALARM = 0, 1
"""Decisions of an anomaly model."""


class Answers(NamedTuple):
    """Answers of one model to n images."""

    scores: NDArray[np.float64]
    """n x K."""
    decisions: NDArray[np.int64]
    """n, indices into `decision_names`."""
    detections: list[tuple[Prediction, ...]]
    """Object detectors: the boxes of each image, those below the threshold too; empty for other tasks."""


def decision_names(manifest: Manifest) -> tuple[str, ...]:
    """Names of the decisions, in order."""
    if manifest.task == "anomaly":
        return "good", "alarm"
    if manifest.task == "detect":
        return (*manifest.labels, "nothing")
    return manifest.classes or tuple(f"class {index}" for index in range(count_scores(manifest)))


def count_scores(manifest: Manifest) -> int:
    """Number of scores of a classifier."""
    return int(np.prod(manifest.output("scores").shape))


def answer(runner: ModelRunner, manifest: Manifest, images: Iterable[NDArray[Any]]) -> Answers:
    """The answers of a model of a task in TASKS_WITH_DECISIONS.

    Args:
        runner: the model
        manifest: of the bundle: its threshold and labels
        images: each H x W x 3, uint8, blue-green-red
    """
    if manifest.task == "detect":
        own = msgspec.structs.replace(manifest, input=runner.manifest.input, outputs=runner.manifest.outputs)
        return _answer_with_boxes(runner, own, images)
    if manifest.task == "anomaly":
        scores = np.array([[score_on_device(runner(image), manifest)] for image in images], float).reshape(-1, 1)
        return Answers(scores, (scores[:, 0] >= manifest.threshold).astype(np.int64), [])
    scores = np.array([runner(image)["scores"].ravel() for image in images], float)
    return Answers(scores, scores.argmax(axis=1).astype(np.int64), [])


def score_on_device(outputs: dict[str, NDArray[Any]], manifest: Manifest) -> float:
    """The score that the device compares with the threshold: with the areas and the recalibration of the bundle.

    Args:
        outputs: `score` and `map` of an anomaly model, real values
        manifest: of the bundle
    """
    score, areas = float(outputs["score"].flat[0]), AreaThresholds.from_manifest(manifest)
    if areas is not None:
        anomaly_map = outputs["map"].reshape(outputs["map"].shape[-2:])
        score = areas.adjust_score(score, anomaly_map, areas.adjust_map(anomaly_map))
    return score - (0.0 if manifest.recalibrated is None else manifest.recalibrated.offset)


def confidences(answers: Answers, manifest: Manifest) -> NDArray[np.float64]:
    """The probability that a classifier gives to its decisions, n."""
    return np.asarray(softmax(answers.scores, manifest.temperature or 1.0).max(axis=1))


def _answer_with_boxes(runner: ModelRunner, manifest: Manifest, images: Iterable[NDArray[Any]]) -> Answers:
    head = DetectHead(manifest, coco_map.MIN_SCORE)
    scores, decisions, detections = [], [], []
    for image in images:
        outputs = runner.backend.run(runner.preprocess(image)) if isinstance(runner, Int8Runner) else runner(image)
        found = head(outputs, image.shape[:2])
        row = np.zeros(len(manifest.labels))
        for each in found:
            index = manifest.labels.index(each.label)
            row[index] = max(row[index], each.score)
        scores.append(row)
        detections.append(found)
        decisions.append(int(row.argmax()) if row.max() >= manifest.threshold else len(row))
    return Answers(np.array(scores).reshape(-1, len(manifest.labels)), np.array(decisions, np.int64), detections)
