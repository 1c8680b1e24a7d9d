"""What turns frames into predictions, as the daemon sees it: a pipeline, or what stands in front of one or several."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..calibration.drift import DriftMonitor
from .explanation import Explanation
from .prediction import Prediction


class Predictor(Protocol):
    """Predicts frame by frame, in the order in which the frames were taken."""

    @property
    def drift(self) -> DriftMonitor | None:
        """The scores of this device beside those of the build; None: they cannot be compared."""

    @property
    def found(self) -> tuple[Prediction, ...]:
        """See InferencePipeline."""

    def predict(self, moment: float, pixels: NDArray[Any], /) -> tuple[Prediction, ...] | None:
        """See InferencePipeline."""

    def heat_map(self, frame: tuple[int, int], /) -> NDArray[np.float32] | None:
        """See InferencePipeline."""

    def explain(self, frame: tuple[int, int], /) -> Explanation | None:
        """See InferencePipeline."""

    def figures(self) -> dict[str, Any]:
        """The fields of the status report that come from the model and its scores."""
