"""Is anything wrong? Learnt from good parts alone; defective ones only measure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from vedette.runtime.verify import Track

from .. import backbone, dataset, detectors, features, measure, threshold
from ..candidate import INT8_ONNX, Candidate
from ..dataset import Split
from ..detectors import Detector
from ..export import feature_names, to_onnx, with_constants_of
from ..goal import Goal
from ..measure import Seen
from ..runners import Runner
from ..techniques.quantise import Quantise
from ..threshold import Threshold
from . import anomaly_report

FALSE_ALARM_RATE = 0.01  # where the goal does not say
_EXAMPLES = 2  # of each kind


class Anomaly:
    """The task; see above."""

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self.what = goal.model.detector
        self.detector = detectors.load(goal.model)

    def divide(self, base: Path) -> Split:
        return dataset.split(self.goal.data, base)

    def parts(self, images: Split) -> dict[str, list[Path]]:
        parts = ("fit", "calibrate", "threshold", "test", "defect")
        return {part: getattr(images, part) for part in parts}

    def fit(self, images: Split, track: Track) -> tuple[onnx.ModelProto, onnx.ModelProto]:
        return _fit(self.detector, self.goal.model.input, images, track)

    def draw(self, candidate: Candidate, images: Split) -> Threshold:
        held_out = measure.see(candidate.runners[INT8_ONNX], images.threshold)
        step = candidate.manifest.output("score").scale
        return threshold.choose(held_out.scores, step, self.goal.goal.false_alarm_rate or FALSE_ALARM_RATE)

    def see(self, runners: dict[str, Runner], images: Split, track: Track) -> dict[str, tuple[Seen, Seen]]:
        return measure.see_all(runners, images, track)

    def figures(self, seen: dict[str, tuple[Seen, Seen]], images: Split, line: Threshold) -> dict[str, Any]:
        return measure.figures(seen, images, line, self.goal.model.input)

    def settings(self, _images: Split, line: Threshold) -> dict[str, Any]:
        return {"labels": ("anomaly",), "threshold": line.score}

    def examples(self, images: Split) -> list[Path]:
        return [*images.test[:_EXAMPLES], *images.defect[:_EXAMPLES]]

    def evidence(self, images: Split, seen: dict[str, tuple[Seen, Seen]], line: Threshold) -> dict[str, Any]:
        return anomaly_report.evidence(images, seen, line)


def _fit(detector: Detector, size: int, images: Split, track: Track) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The float model, and the int8 model whose detector knows the int8 features of good parts."""
    quantise = Quantise(detector.bounded_outputs)
    spec = backbone.input_of(size)

    def fit_images(label: str) -> Iterator[NDArray[Any]]:
        return dataset.tensors(track(images.fit, label), spec)

    detector.fit(features.of_float(detector.backbone, fit_images("float features")))
    float_model = to_onnx(detector, size)
    draft = quantise(float_model, dataset.tensors(images.calibrate, spec), spec)

    detector.fit(features.of_int8(draft, feature_names(detector), fit_images("int8 features")))
    refitted = with_constants_of(detector, float_model)
    return float_model, quantise(refitted, dataset.tensors(images.calibrate, spec), spec)
