"""How closely the int8 models of an imported network reproduce the outputs of its float model."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.evaluation.metrics import ClassificationResult

from .built_models import FLOAT
from .classification_metrics import classification_fields
from .results import TaskMetrics


class CosineSimilarity(msgspec.Struct, frozen=True):
    """Cosine similarity of the outputs of an int8 model to those of the float model, over the test images."""

    mean: float
    lowest: float


class FidelityMetrics(TaskMetrics, frozen=True, kw_only=True):
    """Figures of an imported network."""

    cosine: dict[str, CosineSimilarity]
    """By int8 model."""
    agreement: dict[str, float] = msgspec.field(default_factory=dict)
    """By int8 model: share of the images whose likeliest class is that of the float model."""
    classification: dict[str, ClassificationResult] = msgspec.field(default_factory=dict)
    """By model, for a classifier with labelled images."""
    output_width: int | None = None
    """Length of the vectors of an embedding network."""

    def to_manifest(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for model, cosine in self.cosine.items():
            fields |= {f"cosine_{model}": cosine.mean, f"cosine_least_{model}": cosine.lowest}
        fields |= {f"agreement_{model}": share for model, share in self.agreement.items()}
        if self.output_width is not None:
            fields["width"] = self.output_width
        if self.classification:
            fields |= classification_fields(self.classification)
        elif self.agreement:  # a classifier without labelled images answers all of them
            fields |= {"answered": self.images["test"], "errors": 0}
        return fields | TaskMetrics.to_manifest(self)


def compare_outputs(outputs: dict[str, NDArray[Any]]) -> dict[str, CosineSimilarity]:
    """Cosine similarity of each int8 model's outputs, n x K, to those of the float model."""
    similarities = {model: cosine_similarity(outputs[FLOAT], each) for model, each in outputs.items() if model != FLOAT}
    return {model: CosineSimilarity(float(each.mean()), float(each.min())) for model, each in similarities.items()}


def cosine_similarity(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Cosine similarity of the rows of two arrays, n x K."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / lengths.clip(min=1e-12))
