"""Figures of a classifier: accuracy, calibration, answers above the confidence threshold, and the confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import UNKNOWN
from vedette.runtime.evaluation.metrics import ClassificationResult, evaluate_classification
from vedette.runtime.inference.heads.classify import softmax

from .built_models import INT8_ONNX
from .confidence_and_reject_threshold import ConfidenceThreshold
from .results import CountOfTotal, Measurement, TaskMetrics, per_model


class ClassificationMetrics(TaskMetrics, frozen=True, kw_only=True):
    """Figures of a classifier."""

    classification: dict[str, ClassificationResult]
    """By model."""
    balanced_accuracy: float
    """Mean over the classes of the int8 ONNX model's accuracy."""
    ece_uncalibrated: float
    """Expected calibration error at temperature 1."""
    classes: tuple[str, ...]
    confusion: list[list[int]]
    """Test images of each class (rows) by likeliest class (columns)."""
    unknown: list[int]
    """Test images of each class that are answered unknown."""

    def to_manifest(self) -> dict[str, Any]:
        return {
            **TaskMetrics.to_manifest(self),
            **per_model("accuracy", accuracy_by_model(self.classification)),
            **classification_fields(self.classification),
            "balanced_accuracy": self.balanced_accuracy,
            "ece_uncalibrated": self.ece_uncalibrated,
            "classes": list(self.classes),
            "confusion": self.confusion,
            UNKNOWN: self.unknown,
        }


def metrics_by_model(
    scores: dict[str, NDArray[Any]], truth: NDArray[Any], threshold: ConfidenceThreshold
) -> dict[str, ClassificationResult]:
    """Figures by model.

    Args:
        scores: scores of the test images by model, n x K
        truth: class of each test image, n
        threshold: temperature and confidence threshold
    """
    return {
        model: evaluate_classification(
            softmax(each, threshold.temperature).max(axis=1), each.argmax(axis=1) == truth, threshold.min_probability
        )
        for model, each in scores.items()
    }


def accuracy_by_model(results: dict[str, ClassificationResult]) -> dict[str, Measurement]:
    return {model: Measurement(each.accuracy, each.accuracy_interval) for model, each in results.items()}


def error_proportion(result: ClassificationResult) -> CountOfTotal:
    """Wrong answers among the answers."""
    return CountOfTotal(result.errors, result.answered)


def count_rejected(truth: NDArray[Any], confidence: NDArray[Any], min_confidence: float, classes: int) -> list[int]:
    """Images of each class whose confidence is below the threshold."""
    unknown: list[int] = np.bincount(truth[confidence < min_confidence], minlength=classes).tolist()
    return unknown


def classification_fields(results: dict[str, ClassificationResult]) -> dict[str, Any]:
    """Keys of `measured`; coverage and answers are those of the int8 ONNX model."""
    int8 = results[INT8_ONNX]
    return {
        **{f"ece_{model}": each.calibration_error for model, each in results.items()},
        "coverage": int8.coverage,
        "accuracy_answered": int8.accuracy_answered,
        "answered": int8.answered,
        "errors": int8.errors,
    }
