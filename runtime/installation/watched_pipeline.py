"""A pipeline on probation: another function sees each frame before and after the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration.drift import DriftMonitor
from ..inference.explanation import Explanation
from ..inference.pipeline import InferencePipeline
from ..inference.prediction import Prediction

Predict = Callable[[float, NDArray[Any], InferencePipeline], tuple[Prediction, ...] | None]
"""Moment, pixels and the pipeline itself -> the pipeline's predictions."""


class WatchedPipeline:
    """A predictor that stands in front of a pipeline.

    Args:
        pipeline: the pipeline
        predict: calls the pipeline, and may do more
    """

    def __init__(self, pipeline: InferencePipeline, predict: Predict) -> None:
        self._pipeline, self._predict = pipeline, predict

    @property
    def drift(self) -> DriftMonitor | None:
        """See Predictor."""
        return self._pipeline.drift

    @property
    def found(self) -> tuple[Prediction, ...]:
        """See InferencePipeline."""
        return self._pipeline.found

    def predict(self, moment: float, pixels: NDArray[Any]) -> tuple[Prediction, ...] | None:
        """See InferencePipeline."""
        return self._predict(moment, pixels, self._pipeline)

    def heat_map(self, frame: tuple[int, int]) -> NDArray[np.float32] | None:
        """See InferencePipeline."""
        return self._pipeline.heat_map(frame)

    def explain(self, frame: tuple[int, int]) -> Explanation | None:
        """See InferencePipeline."""
        return self._pipeline.explain(frame)

    def figures(self) -> dict[str, Any]:
        """See InferencePipeline."""
        return self._pipeline.figures()
