"""Scores and anomaly maps of held-out images, and the accuracy of an anomaly model at its threshold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vedette.devices import read_host_profile
from vedette.runtime.calibration.good_scores import GoodScores
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc, auroc_interval
from vedette.runtime.progress import Progress

from ..data.motion_selection import AlignmentEvidence
from ..data.split import Split
from . import pixel_metrics
from .built_models import FLOAT, INT8_ONNX
from .conformal_threshold import AnomalyThreshold
from .model_runners import ModelRunner
from .p_values import HeldOutScores, PValueCheck, check_p_values
from .pixel_metrics import PixelMetrics
from .results import CountOfTotal, Measurement, TaskMetrics


class ImageScores(msgspec.Struct, frozen=True):
    """Outputs of one model for some images."""

    maps: list[NDArray[Any]]
    """Anomaly maps, each h x w."""
    scores: NDArray[Any]
    """Anomaly scores, one per image."""


class PrecisionAndRecall(msgspec.Struct, frozen=True):
    """Precision, recall and F1 of alarms at a threshold; None without good or without defective images."""

    precision: float | None = None
    """None also if nothing raises an alarm."""
    recall: float | None = None
    f1: float | None = None
    best_f1: float | None = None
    """The best F1 of any threshold, chosen on the same images."""


class AnomalyMetrics(TaskMetrics, frozen=True, kw_only=True):
    """Figures of an anomaly model."""

    false_alarms: CountOfTotal
    """Good test images at or above the threshold."""
    detections: CountOfTotal
    """Defective test images at or above the threshold."""
    known_detections: CountOfTotal | None = None
    """Known defects at or above the threshold, each scored without having been learned from; None without any."""
    pixels: dict[str, PixelMetrics]
    """Localization metrics of the float and of the int8 ONNX model."""
    at_threshold: PrecisionAndRecall
    alignment: AlignmentEvidence | None = None
    """How sure the alignment of the images is; None: they are not aligned."""
    good_scores: GoodScores | None = None
    """Calibration of p-values; None: the task has none."""
    p_values: PValueCheck | None = None

    @property
    def no_better_than_chance(self) -> bool:
        """Whether the threshold flags defective images hardly more often than good ones.

        By the exact test of Fisher, one-sided, at 5 %: then such an alarm says nothing about the part.
        """
        if not self.detections.total or not self.false_alarms.total:
            return False
        table = [[each.count, each.total - each.count] for each in (self.detections, self.false_alarms)]
        return bool(stats.fisher_exact(table, alternative="greater").pvalue > 0.05)

    def to_manifest(self) -> dict[str, Any]:
        fields = TaskMetrics.to_manifest(self)
        for model, measurement in self.by_model.items():
            fields[f"auroc_interval_{model}"] = measurement.interval
        for model, suffix in ((FLOAT, "_fp32"), (INT8_ONNX, "")):
            fields |= {key + suffix: value for key, value in msgspec.structs.asdict(self.pixels[model]).items()}
        if self.alignment is not None:
            fields["alignment"] = msgspec.structs.asdict(self.alignment)
        if self.good_scores is not None:
            fields["good_scores"] = msgspec.to_builtins(self.good_scores)
            fields["p_values"] = msgspec.to_builtins(self.p_values)
        if self.known_detections is not None:
            fields |= {
                "known_detection_rate": self.known_detections.rate,
                "known_detection_interval": self.known_detections.interval,
            }
        return fields | {
            **msgspec.structs.asdict(self.at_threshold),
            "false_alarms": self.false_alarms.count,
            "false_alarm_rate": self.false_alarms.rate,
            "detection_rate": self.detections.rate,
            "detection_interval": self.detections.interval,
            "no_better_than_chance": self.no_better_than_chance,
        }


def score_images(runner: ModelRunner, paths: Iterable[Path]) -> ImageScores:
    """Run a model on image files."""
    results = [runner(image_files.read_image(path)) for path in paths]
    maps = [each["map"].reshape(each["map"].shape[-2:]) for each in results]
    return ImageScores(maps, np.array([float(each["score"].flat[0]) for each in results]))


def score_test_images(
    runners: dict[str, ModelRunner], split: Split, progress: Progress
) -> dict[str, tuple[ImageScores, ImageScores]]:
    """Scores of each model for the good and for the defective test images.

    Args:
        runners: the models by name
        split: the split of the images
        progress: shows the progress under a label
    """
    return {
        name: (
            score_images(runner, progress(split.test, f"{name}: good")),
            score_images(runner, progress(split.defect, f"{name}: defect")),
        )
        for name, runner in runners.items()
    }


def compute_anomaly_metrics(
    scores: dict[str, tuple[ImageScores, ImageScores]],
    split: Split,
    masks: dict[int, NDArray[Any]],
    threshold: AnomalyThreshold,
    held_out: HeldOutScores | None = None,
    known_scores: NDArray[Any] | None = None,
) -> AnomalyMetrics:
    """Accuracy of all models, and false alarms and detections at the threshold.

    Args:
        scores: outputs of each model for the good and for the defective test images
        split: the split of the images
        masks: defect masks by index of the defective image, from `pixel_metrics.read_masks`
        threshold: the threshold of the int8 model
        held_out: calibration of its p-values; None: there is none
        known_scores: scores of known defects by the int8 model, as if it had not learned from them
    """
    known = None if known_scores is None else _count_at_or_above(threshold.score, known_scores)
    by_model = {name: measure_auroc(good.scores, defect.scores) for name, (good, defect) in scores.items()}
    pixels = {
        name: pixel_metrics.compute_pixel_metrics(scores[name][0].maps, scores[name][1].maps, masks)
        for name in (FLOAT, INT8_ONNX)
    }
    good, defect = scores[INT8_ONNX]
    return AnomalyMetrics(
        metric="auroc",
        by_model=by_model,
        images={
            **{part: len(getattr(split, part)) for part in ("fit", "calibrate", "threshold")},
            "test_good": len(split.test),
            "test_defect": len(split.defect),
            "masks": len(masks),
            **({} if known is None else {"known": known.total}),
        },
        machine=read_host_profile().cpu,
        threshold=threshold,
        false_alarms=_count_at_or_above(threshold.score, good.scores),
        detections=_count_at_or_above(threshold.score, defect.scores),
        known_detections=known,
        pixels=pixels,
        at_threshold=compute_threshold_metrics(threshold.score, good.scores, defect.scores),
        good_scores=None if held_out is None else held_out.calibration,
        p_values=None if held_out is None else check_p_values(held_out, good.scores),
    )


def _count_at_or_above(threshold: float, scores: NDArray[Any]) -> CountOfTotal:
    return CountOfTotal(int((scores >= threshold).sum()), len(scores))


def measure_auroc(good: NDArray[Any], defect: NDArray[Any]) -> Measurement:
    """AUROC of scores with its 95 % interval; without a value if there are no good or no defective images."""
    if not len(good) or not len(defect):
        return Measurement(None)
    return Measurement(auroc(good, defect), auroc_interval(good, defect))


def compute_threshold_metrics(threshold: float, good: NDArray[Any], defect: NDArray[Any]) -> PrecisionAndRecall:
    """Precision, recall and F1 of alarms, with defective images as positives, and the best F1 of any threshold.

    Precision and F1 depend on the share of defective test images. The best F1 is optimistic, because its threshold is
    chosen on the same images.

    Args:
        threshold: score from which an image raises an alarm
        good: scores of good images
        defect: scores of defective images
    """
    if not len(defect) or not len(good):
        return PrecisionAndRecall()
    levels = np.append(np.unique(np.concatenate([good, defect])), threshold)
    true_alarms = len(defect) - np.searchsorted(np.sort(defect), levels)
    false_alarms = len(good) - np.searchsorted(np.sort(good), levels)
    f1 = 2 * true_alarms / (true_alarms + false_alarms + len(defect))
    alarms = int(true_alarms[-1] + false_alarms[-1])
    return PrecisionAndRecall(
        precision=float(true_alarms[-1] / alarms) if alarms else None,
        recall=float(true_alarms[-1] / len(defect)),
        f1=float(f1[-1]),
        best_f1=float(f1.max()),
    )
