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
from vedette.runtime.bundle.manifest import UNKNOWN
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import calibration_error, confusion, share_interval
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.inference.heads.classify import softmax

from ..data import split, stratified_split
from ..data.augmentation import Augment
from ..data.stratified_split import Labelled
from ..evaluation import confidence_calibration
from ..evaluation.built_models import FLOAT, INT8_ONNX, Candidate, Fitted
from ..evaluation.confidence_calibration import Confidence
from ..evaluation.model_runners import Runner
from ..goal import recipe
from ..goal.goal_file import Goal
from ..graph.torch_export import feature_names, to_onnx, with_constants_of
from ..models import efficientnet_lite
from ..models.classifier_head import OUTPUTS, Classifier
from ..models.design import INPUT
from ..quantization.quantize import Quantise
from ..report import classify_page
from ..search.study import Effort
from ..training.classifier_fine_tuning import tune

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
        self.spec = efficientnet_lite.input_of(self.size)

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Labelled:
        return stratified_split.audited(self.goal.data, base, track, say)

    def parts(self, images: Labelled) -> dict[str, list[Path]]:
        return {part: getattr(images, part) for part in ("fit", "calibrate", "threshold", "test")}

    def fit(
        self, images: Labelled, _effort: Effort | None, folder: Path, track: Track, _say: Callable[[str], None]
    ) -> Fitted:
        goal, size = self.goal, self.size
        classifier = Classifier(efficientnet_lite.load(BLOCKS), len(images.classes), size)
        epochs = self.epochs if goal.model.epochs is None else goal.model.epochs
        tune(classifier, images, self.spec, goal.augment or Augment(), epochs, goal.data.seed, track)
        float_model = to_onnx(classifier, size, OUTPUTS)
        quantise: Quantise = recipe.load(goal.recipe).get("quantise", Quantise())
        calibration = list(split.tensors(images.calibrate, self.spec))
        shown = list(split.tensors(images.fit, self.spec)) if quantise.qat_steps else []
        ready = quantise.ready(float_model, calibration, self.spec, feature_names(classifier), shown, folder)
        draft = Candidate(goal, float_model, quantise.integers(ready, calibration, self.spec)).runners
        lost = _scores(draft[FLOAT], images.calibrate) - _scores(draft[INT8_ONNX], images.calibrate)
        classifier.shift(torch.from_numpy(lost.mean(axis=0)).float())
        shifted = msgspec.structs.replace(ready, model=with_constants_of(classifier, ready.model))
        int8_model = quantise.integers(shifted, calibration, self.spec)
        return Fitted(float_model, int8_model, with_constants_of(classifier, ready.exact), ready.steps)

    def draw(self, candidate: Candidate, images: Labelled) -> Confidence:
        self.float_line, line = (
            confidence_calibration.choose(
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
        return classify_page.evidence(images, seen, line, self.float_line)


def _scores(runner: Runner, paths: Any) -> NDArray[Any]:
    return np.stack([runner(image_files.read(path))["scores"].ravel() for path in paths])


def _truth(images: Labelled, paths: list[Path]) -> NDArray[Any]:
    return np.array(images.labels(paths))


def _answers(scores: NDArray[Any], truth: NDArray[Any], temperature: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """How sure the likeliest class is, and whether it is right, for each image."""
    return softmax(scores, temperature).max(axis=1), scores.argmax(axis=1) == truth
