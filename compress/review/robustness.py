"""Robustness: the metric and the false alarms at the bundle's threshold under each corruption, float beside int8.

The metric alone hides what a user meets first: a model can keep its AUROC while all scores rise above the threshold.
What counts as a false alarm:

    anomaly     a good image at or above the threshold
    classify    an image of a normal class that gets another class with the least probability of the bundle; without
                normal classes, any wrong answer of that probability
    detect      an image with a box at or above the threshold that matches no object, or fails to be of its class

Imprecise: with few images a rate is uncertain, so each finding names the counts. The literature does not agree whether
int8 makes networks more or less robust, so a review reports the difference and never calls a model robust.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vedette.runtime.evaluation import coco_map
from vedette.runtime.evaluation.metrics import auroc

from ..evaluation import max_f1_threshold
from ..evaluation.model_runners import ModelRunner
from ..evaluation.results import METRIC_TITLES
from . import decisions
from .corruptions import CORRUPTIONS, STRENGTHS, corrupt
from .decisions import Answers
from .finding import Finding, RobustnessRow, Severity
from .subject import ReviewImages, Subject

METRICS = {"anomaly": "auroc", "classify": "accuracy", "detect": "map50"}
FALSE_ALARMS = {
    "anomaly": "good images at or above the threshold",
    "classify": "wrong answers at the bundle's confidence",
    "detect": "images with a wrong box at the threshold",
}
LARGE_SHIFT = 0.1  # rise of the false-alarm rate that is worth a finding
SIGNIFICANCE = 0.05
COMPARISONS = len(CORRUPTIONS) * len(
    STRENGTHS
)  # by which the significance of float against int8 is divided (Bonferroni)


class Counted(NamedTuple):
    """One model under one corruption."""

    metric: float | None
    false_alarms: int
    total: int


def measure_robustness(subject: Subject) -> list[RobustnessRow]:
    """One row for clean images and one for each corruption and strength; empty without images or decisions."""
    doubled = 0 if subject.manifest.task == "anomaly" else None  # false alarms are counted on good images alone
    images = subject.images.sample(subject.effort.robustness_images, doubled)
    if subject.manifest.task not in METRICS or not images.paths:
        return []
    pixels = images.read()
    return [_measure_row(subject, images, pixels, kind, strength) for kind, strength in _settings()]


def _settings() -> Iterator[tuple[str, int]]:
    yield "clean", 0
    for kind in CORRUPTIONS:
        for strength in STRENGTHS:
            yield kind, strength


def _measure_row(
    subject: Subject, images: ReviewImages, pixels: list[NDArray[Any]], kind: str, strength: int
) -> RobustnessRow:
    changed = pixels
    if kind != "clean":
        changed = [corrupt(image, kind, strength, seed) for seed, image in enumerate(pixels)]

    def count(model: ModelRunner) -> Counted:
        return _count(subject, decisions.answer(model, subject.manifest, changed), images)

    int8, other = count(subject.int8), None if subject.float is None else count(subject.float)
    return RobustnessRow(
        corruption=kind,
        strength=strength,
        setting="" if kind == "clean" else CORRUPTIONS[kind].settings[strength - 1],
        metric_float=None if other is None else other.metric,
        metric_int8=int8.metric,
        false_alarms_float=None if other is None else other.false_alarms,
        false_alarms_int8=int8.false_alarms,
        of_float=None if other is None else other.total,
        of_int8=int8.total,
    )


def _count(subject: Subject, answers: Answers, images: ReviewImages) -> Counted:
    manifest = subject.manifest
    if manifest.task == "detect":
        if images.objects is None:
            return Counted(None, 0, 0)
        precision = coco_map.mean_average_precision(images.objects, answers.detections, manifest.labels)
        wrong = [
            max_f1_threshold.evaluate_threshold(manifest.threshold, [objects], [found], manifest.labels)
            for objects, found in zip(images.objects, answers.detections, strict=True)
        ]
        above = [any(each.score >= manifest.threshold for each in found) for found in answers.detections]
        alarms = sum(some and point.precision < 1 for some, point in zip(above, wrong, strict=True))
        return Counted(precision.map50, alarms, len(wrong))
    if images.labels is None:
        return Counted(None, 0, 0)
    labels = np.array(images.labels)
    if manifest.task == "anomaly":
        good, defect = answers.scores[labels == 0, 0], answers.scores[labels == 1, 0]
        value = float(auroc(good, defect)) if len(good) and len(defect) else None
        return Counted(value, int((good >= manifest.threshold).sum()), len(good))
    right = answers.decisions == labels
    confident = decisions.confidences(answers, manifest) >= manifest.threshold
    judged = np.ones(len(labels), bool)
    if manifest.normal:
        judged = np.array([manifest.classes[label] in manifest.normal for label in labels])
        right |= np.array([manifest.classes[each] in manifest.normal for each in answers.decisions])
    accuracy = float((answers.decisions == labels).mean())
    return Counted(accuracy, int((confident & ~right & judged).sum()), int(judged.sum()))


def robustness_findings(subject: Subject, rows: list[RobustnessRow]) -> Iterator[Finding]:
    """Findings about the rows of `measure_robustness`, at most two for each kind of corruption."""
    if not rows or not rows[0].of_int8:
        why = "there are no images" if not subject.images.paths else "nothing is known of what the images show"
        hint = "give test images with --data"
        yield Finding("info", "robustness", f"false alarms under corruptions were not counted: {why}", "", hint)
        return
    clean, task = rows[0], subject.manifest.task
    title = METRIC_TITLES.get(METRICS[task], METRICS[task])
    for kind in CORRUPTIONS:
        own = [row for row in rows if row.corruption == kind]
        shifted = [row for row in own if _rate(row) - _rate(clean) > LARGE_SHIFT and _is_rise(row, clean)]
        if shifted:
            yield _shift_finding(kind, shifted, clean, task, title)
        worse = [row for row in own if _is_worse_than_float(row)]
        if worse:
            row = worse[0]
            counts = f"{row.false_alarms_int8} of {row.of_int8}, float {row.false_alarms_float} of {row.of_float}"
            yield Finding(
                "medium",
                "robustness",
                f"under {kind}, int8 raises more false alarms than float",
                f"{row.setting}: {counts}",
                'try more calibration images, or [[recipe]] use = "quantise" with learned rounding or training',
            )


def _shift_finding(kind: str, shifted: list[RobustnessRow], clean: RobustnessRow, task: str, title: str) -> Finding:
    worst, first = shifted[-1], shifted[0]
    severity: Severity = "medium" if first.strength == 1 else "low"
    evidence = [f"clean {clean.false_alarms_int8} of {clean.of_int8}"]
    for row in shifted:
        beside = "" if row.false_alarms_float is None else f" (float {row.false_alarms_float})"
        evidence.append(f"{row.setting} {row.false_alarms_int8} of {row.of_int8}{beside}")
    if worst.metric_int8 is not None and clean.metric_int8 is not None:
        evidence.append(f"{title} {clean.metric_int8:.3f} to {worst.metric_int8:.3f}")
    return Finding(
        severity,
        "robustness",
        f"false alarms at the threshold rise from {_rate(clean):.0%} to {_rate(worst):.0%} under {kind}",
        f"{FALSE_ALARMS[task]}: " + ", ".join(evidence),
        "put images with such changes among the good ones, recalibrate in place (vedette recalibrate), or keep the "
        "change from happening: lamp, focus, fixture, quality of the camera's stream",
    )


def _rate(row: RobustnessRow) -> float:
    return row.false_alarms_int8 / row.of_int8 if row.of_int8 else 0.0


def _is_rise(row: RobustnessRow, clean: RobustnessRow) -> bool:
    """Whether chance explains the rise of false alarms with less than 5 % (Fisher's exact test)."""
    return _chance(row.false_alarms_int8, row.of_int8, clean.false_alarms_int8, clean.of_int8) < SIGNIFICANCE


def _is_worse_than_float(row: RobustnessRow) -> bool:
    if row.false_alarms_float is None or not row.of_float:
        return False
    chance = _chance(row.false_alarms_int8, row.of_int8, row.false_alarms_float, row.of_float)
    difference = _rate(row) - row.false_alarms_float / row.of_float
    return difference > LARGE_SHIFT and chance < SIGNIFICANCE / COMPARISONS


def _chance(count: int, total: int, other: int, of: int) -> float:
    """The probability that two equal rates differ so much."""
    table = [[count, total - count], [other, of - other]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)
