"""The head of classifiers: the likeliest class of the frame, or `unknown`.

The model returns one score per class. Temperature scaling and softmax happen here and not in the model: quantized
probabilities near 0 and 1 would have too few steps. The temperature was fitted on held-out images, so that a
probability is the rate at which such an answer is right (Guo et al., "On Calibration of Modern Neural Networks", 2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import UNKNOWN, Manifest
from ..prediction import Prediction


class ClassifyHead:
    """`scores` (K classes) -> exactly one prediction for the whole frame; its score is a probability."""

    def __init__(self, manifest: Manifest) -> None:
        self.labels = manifest.classes
        self.scores_output = manifest.output("scores")
        self.temperature = 1.0 if manifest.temperature is None else manifest.temperature
        self.min_confidence = manifest.threshold

    def __call__(
        self, outputs: dict[str, NDArray[Any]], _frame: tuple[int, int] | None = None
    ) -> tuple[Prediction, ...]:
        probabilities = self.probabilities(outputs)
        best = int(probabilities.argmax())
        score = float(probabilities[best])
        label = self.labels[best] if score >= self.min_confidence else UNKNOWN
        return (Prediction(label, round(score, 4)),)

    def probabilities(self, outputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """The probability of each class, K."""
        real = self.scores_output.scale * (outputs["scores"].ravel().astype(float) - self.scores_output.zero_point)
        return softmax(real, self.temperature)


def softmax(scores: NDArray[Any], temperature: float) -> NDArray[Any]:
    """Scores, … x K -> probabilities of the same shape."""
    powers = np.exp((scores - scores.max(axis=-1, keepdims=True)) / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
