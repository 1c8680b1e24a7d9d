"""The likeliest class of the whole picture, or `unknown`.

The model gives one score per class. What makes them probabilities, dividing by the temperature and softmax, is done
here and not in the model: as integers, probabilities near 0 and 1 would have no steps left to differ by. The
temperature was fitted on held-out pictures, so that a probability says how often such an answer is right (Guo et al.,
"On Calibration of Modern Neural Networks", 2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import UNKNOWN, Manifest
from ..prediction import Prediction


class Classify:
    """`scores` (K classes) -> exactly one prediction for the whole frame, its score a probability."""

    def __init__(self, manifest: Manifest) -> None:
        self.labels = manifest.classes
        self.scores = manifest.output("scores")
        self.temperature = 1.0 if manifest.temperature is None else manifest.temperature
        self.confidence = manifest.threshold

    def __call__(
        self, outputs: dict[str, NDArray[Any]], _frame: tuple[int, int] | None = None
    ) -> tuple[Prediction, ...]:
        probabilities = self.probabilities(outputs)
        best = int(probabilities.argmax())
        score = float(probabilities[best])
        label = self.labels[best] if score >= self.confidence else UNKNOWN
        return (Prediction(label, round(score, 4)),)

    def probabilities(self, outputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Of each class, K."""
        real = self.scores.scale * (outputs["scores"].ravel().astype(float) - self.scores.zero_point)
        return softmax(real, self.temperature)


def softmax(scores: NDArray[Any], temperature: float) -> NDArray[Any]:
    """Scores, … x K -> probabilities of the same shape."""
    powers = np.exp((scores - scores.max(axis=-1, keepdims=True)) / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
