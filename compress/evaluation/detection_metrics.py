"""Figures of an object detector: mean average precision, and precision and recall at the operating point."""

from __future__ import annotations

from typing import Any

from vedette.runtime.inference.float_model import DIGEST_KEY

from .max_f1_threshold import OperatingPoint
from .results import TaskMetrics


class DetectionMetrics(TaskMetrics, frozen=True, kw_only=True):
    """Figures of an object detector."""

    mean_map: dict[str, float]
    """By model: average precision, mean over the classes and over IoU from 0.5 to 0.95."""
    at_threshold: OperatingPoint
    """Figures of the int8 ONNX model on the test images at the chosen score threshold."""
    float_model_digest: str
    """SHA-256 of the float model file beside the bundle."""

    def to_manifest(self) -> dict[str, Any]:
        return {
            **{f"map_{model}": value for model, value in self.mean_map.items()},
            **TaskMetrics.to_manifest(self),
            "precision": self.at_threshold.precision,
            "recall": self.at_threshold.recall,
            "f1": self.at_threshold.f1,
            DIGEST_KEY: self.float_model_digest,
        }
