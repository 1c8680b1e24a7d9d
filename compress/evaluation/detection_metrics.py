"""Figures of an object detector: mean average precision, and precision and recall at the operating point."""

from __future__ import annotations

from typing import Any

import msgspec

from vedette.runtime.inference.float_model import DIGEST_KEY

from .max_f1_threshold import OperatingPoint
from .results import Measurement, TaskMetrics


class TrainingStep(msgspec.Struct, frozen=True):
    """A step of the training on new classes."""

    layers: str
    """The trained layers; `none`: before training."""
    epochs: int
    map50: float
    """Of the float model on the images that decide when training stops."""


class TrainingFigures(msgspec.Struct, frozen=True):
    """What training on new classes was worth."""

    begins_as: dict[str, list[str]]
    """For each new class the detector's own classes that it began as."""
    objects: dict[str, int]
    """Of each class, in the images of `fit`."""
    untrained: Measurement
    """mAP50 of the float detector as imported on the test images, with its own classes mapped to the new ones."""
    steps: list[TrainingStep]
    kept: str
    """Layers of the step that was kept."""

    def to_manifest(self) -> dict[str, Any]:
        """The figures by their key in `measured`."""
        fields = {key: msgspec.to_builtins(getattr(self, key)) for key in ("begins_as", "objects", "steps", "kept")}
        untrained = {"map50_untrained": self.untrained.value, "map50_interval_untrained": self.untrained.interval}
        return untrained | {"training": fields}


class DetectionMetrics(TaskMetrics, frozen=True, kw_only=True):
    """Figures of an object detector."""

    mean_map: dict[str, float]
    """By model: average precision, mean over the classes and over IoU from 0.5 to 0.95."""
    at_threshold: OperatingPoint
    """Figures of the int8 ONNX model on the test images at the chosen score threshold."""
    float_model_digest: str
    """SHA-256 of the float model file beside the bundle."""
    distillation: dict[str, Any] | None = None
    """Figures of the distillation to a smaller input; None: there was none."""
    training: TrainingFigures | None = None
    """On the classes of the labels; None: the detector keeps its own."""

    def to_manifest(self) -> dict[str, Any]:
        return {
            **{f"map_{model}": value for model, value in self.mean_map.items()},
            **TaskMetrics.to_manifest(self),
            "precision": self.at_threshold.precision,
            "recall": self.at_threshold.recall,
            "f1": self.at_threshold.f1,
            DIGEST_KEY: self.float_model_digest,
            **({} if self.distillation is None else {"distillation": self.distillation}),
            **({} if self.training is None else self.training.to_manifest()),
        }
