"""What kind of thing is it? Learnt from images of every class, and honest about what it does not know.

Integers move the scores of all images the same way, on solar cells by a seventh of their spread, and near the border of
two classes that decides. So what the int8 model gives less than the float one, on average over the calibration images,
is added to its head before it is quantised for good (Nagel et al., "Data-Free Quantization Through Weight Equalization
and Bias Correction", 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from vedette.devices import DeviceProfile, this_machine
from vedette.runtime import picture
from vedette.runtime.accuracy import calibration_error, confusion, share_interval
from vedette.runtime.heads.classify import softmax
from vedette.runtime.manifest import UNKNOWN
from vedette.runtime.verify import Track

from .. import backbone, confidence, dataset, labelled, techniques
from ..augment import Augment
from ..candidate import FLOAT, INT8_ONNX, Candidate, Fitted
from ..classifier import OUTPUTS, Classifier
from ..confidence import Confidence
from ..design import INPUT
from ..export import feature_names, to_onnx, with_constants_of
from ..goal import Goal
from ..labelled import Labelled
from ..runners import Runner
from ..search import Effort
from ..techniques.quantise import Quantise
from ..tuning import tune
from . import classify_report

BLOCKS = (5, 10, 15)  # whose features are pooled: fine, middle and coarse
ERROR_RATE = 0.05  # where the goal does not say
_EXAMPLES = 8


class Classify:
    """The task; see above."""

    what = "a classifier"
    epochs = 4
    """Of fine-tuning, where the goal does not say."""

    def __init__(self, goal: Goal, _device: DeviceProfile) -> None:
        self.goal = goal
        self.size = goal.model.input or INPUT
        self.spec = backbone.input_of(self.size)

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Labelled:
        return labelled.audited(self.goal.data, base, track, say)

    def parts(self, images: Labelled) -> dict[str, list[Path]]:
        return {part: getattr(images, part) for part in ("fit", "calibrate", "threshold", "test")}

    def fit(
        self, images: Labelled, _effort: Effort | None, folder: Path, track: Track, _say: Callable[[str], None]
    ) -> Fitted:
        goal, size = self.goal, self.size
        classifier = Classifier(backbone.load(BLOCKS), len(images.classes), size)
        epochs = self.epochs if goal.model.epochs is None else goal.model.epochs
        tune(classifier, images, self.spec, goal.augment or Augment(), epochs, goal.data.seed, track)
        float_model = to_onnx(classifier, size, OUTPUTS)
        quantise: Quantise = techniques.load(goal.recipe).get("quantise", Quantise())
        calibration = list(dataset.tensors(images.calibrate, self.spec))
        shown = list(dataset.tensors(images.fit, self.spec)) if quantise.qat_steps else []
        ready = quantise.ready(float_model, calibration, self.spec, feature_names(classifier), shown, folder)
        draft = Candidate(goal, float_model, quantise.integers(ready, calibration, self.spec)).runners
        lost = _scores(draft[FLOAT], images.calibrate) - _scores(draft[INT8_ONNX], images.calibrate)
        classifier.shift(torch.from_numpy(lost.mean(axis=0)).float())
        shifted = msgspec.structs.replace(ready, model=with_constants_of(classifier, ready.model))
        int8_model = quantise.integers(shifted, calibration, self.spec)
        return Fitted(float_model, int8_model, with_constants_of(classifier, ready.exact), ready.steps)

    def draw(self, candidate: Candidate, images: Labelled) -> Confidence:
        self.float_line, line = (
            confidence.choose(
                _scores(candidate.runners[name], images.threshold),
                _truth(images, images.threshold),
                self.goal.goal.error_rate or ERROR_RATE,
            )
            for name in (FLOAT, INT8_ONNX)
        )
        return line

    def see(self, runners: dict[str, Runner], images: Labelled, track: Track) -> dict[str, NDArray[Any]]:
        """Scores of the test images, n x K."""
        return {name: _scores(runner, track(images.test, name)) for name, runner in runners.items()}

    def figures(self, seen: dict[str, NDArray[Any]], images: Labelled, line: Confidence) -> dict[str, Any]:
        truth = _truth(images, images.test)
        found: dict[str, Any] = {}
        for name, scores in seen.items():
            sure, right = _answers(scores, truth, line.temperature)
            found[f"accuracy_{name}"] = float(right.mean())
            found[f"accuracy_interval_{name}"] = share_interval(int(right.sum()), len(right))
            found[f"ece_{name}"] = calibration_error(sure, right)
        scores = seen[INT8_ONNX]
        sure, right = _answers(scores, truth, line.temperature)
        counts = confusion(truth, scores.argmax(axis=1), len(images.classes))
        answered = sure >= line.level
        return found | {
            "balanced_accuracy": float((counts.diagonal() / counts.sum(axis=1)).mean()),
            "ece_uncalibrated": calibration_error(*_answers(scores, truth, 1.0)),
            "classes": list(images.classes),
            "confusion": counts.tolist(),
            UNKNOWN: np.bincount(truth[~answered], minlength=len(images.classes)).tolist(),
            "coverage": float(answered.mean()),
            "accuracy_answered": float(right[answered].mean()) if answered.any() else None,
            "answered": int(answered.sum()),
            "errors": int((answered & ~right).sum()),
            "threshold": msgspec.to_builtins(line),
            "images": {part: len(paths) for part, paths in self.parts(images).items()},
            "machine": this_machine().cpu,
        }

    def settings(self, images: Labelled, line: Confidence) -> dict[str, Any]:
        return {
            "labels": (*images.classes, UNKNOWN),
            "normal": images.normal,
            "threshold": line.level,
            "temperature": line.temperature,
        }

    def examples(self, images: Labelled) -> list[Path]:
        """One of each class, of the first ones where there are many."""
        first = {images.truth[path]: path for path in reversed(images.test)}
        return [first[number] for number in sorted(first)[:_EXAMPLES]]

    def evidence(self, images: Labelled, seen: dict[str, NDArray[Any]], line: Confidence) -> dict[str, Any]:
        return classify_report.evidence(images, seen, line, self.float_line)


def _scores(runner: Runner, paths: Any) -> NDArray[Any]:
    return np.stack([runner(picture.read(path))["scores"].ravel() for path in paths])


def _truth(images: Labelled, paths: list[Path]) -> NDArray[Any]:
    return np.array(images.labels(paths))


def _answers(scores: NDArray[Any], truth: NDArray[Any], temperature: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """How sure the likeliest class is, and whether it is right, for each image."""
    return softmax(scores, temperature).max(axis=1), scores.argmax(axis=1) == truth
