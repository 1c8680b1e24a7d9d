"""Object detectors of the user's own: made integer, and judged by mean average precision on labelled images.

Images are audited and divided like all others. Those to fit and to calibrate set the ranges; from those for the
threshold comes the score at which the detector is believed; the figures are those of the test images, which nothing has
seen.
The float model and both files are read by the very head that will run on the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from vedette.devices import DeviceProfile, this_machine
from vedette.runtime import detection, ground_truth, picture
from vedette.runtime.ground_truth import GroundTruth, Object
from vedette.runtime.heads.detect import Detect as Head
from vedette.runtime.prediction import Prediction
from vedette.runtime.problem import ConfigProblem, written_in
from vedette.runtime.reference import DIGEST, real
from vedette.runtime.verify import Track

from .. import dataset, operating, techniques
from ..candidate import FLOAT, INT8_ONNX, Candidate, Fitted
from ..dataset import Split
from ..foreign import detector, integers
from ..goal import Goal
from ..operating import Line
from ..runners import Integer, Runner
from ..search import Effort
from ..techniques.quantise import Quantise
from ..tflite.operators import check
from .detect_report import evidence

MOST = 200  # images that the ranges are taken from
_SAMPLES = 8

Seen = list[tuple[Prediction, ...]]
"""What one model makes of the test images, doubtful boxes too."""


class Detect:
    """Boxes around objects."""

    what = "a detector of your own"

    def __init__(self, goal: Goal, _device: DeviceProfile) -> None:
        self.goal = goal
        self.truth: GroundTruth = {}

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Split:
        data, model = self.goal.data, self.goal.model
        self.detector = detector.load(base, model)
        check(self.detector.model)  # before the images are read
        if model.licence == type(model)().licence:
            say(f"the licence of {Path(str(model.onnx or model.tflite)).name} is not stated: say it as model.licence")
        folder = base / str(data.images)
        with written_in("data.labels"):
            self.truth = ground_truth.read(folder, base / str(data.labels), self.detector.labels)
        if not any(self.truth.values()):
            hint = "mean average precision needs objects to find"
            raise ConfigProblem(f"data.labels: {base / str(data.labels)}: no object is marked in any image", hint=hint)
        with written_in("data.images, which are taken for good ones"):
            named = msgspec.structs.replace(data, good=str(data.images))
            images = dataset.find(named, base)
            if left := [each for each in images.by_label["good"] if each not in self.truth]:
                say(f"left out: {len(left)} images that the labels do not list")
                images.by_label["good"] = [each for each in images.by_label["good"] if each in self.truth]
            found, summary = dataset.looked_over(images, base, track, say)
            divided = dataset.split(named, base, images, found)
        say(f"{sum(map(len, self._truth(divided.test)))} objects in {len(divided.test)} test images")
        return msgspec.structs.replace(divided, audit=summary)

    def parts(self, images: Split) -> dict[str, list[Path]]:
        return {part: getattr(images, part) for part in ("fit", "calibrate", "threshold", "test")}

    def fit(
        self, images: Split, _effort: Effort | None, folder: Path, track: Track, say: Callable[[str], None]
    ) -> Fitted:
        """Nothing is fitted: the images of `fit` set the ranges, with those of `calibrate`."""
        some = [*images.calibrate, *images.fit][:MOST]
        pixels = list(dataset.tensors(track(some, "ranges"), self.detector.input))
        how = techniques.load(self.goal.recipe).get("quantise", Quantise())
        made = integers.careful(self.detector.model, pixels, self.detector.input, how, folder)
        about = {"boxes": self.detector.boxes, "resize": self.detector.input.resize, "labels": self.detector.labels}
        return Fitted(self.detector.model, made.int8, made.exact, made.steps, about)

    def draw(self, candidate: Candidate, images: Split) -> Line:
        self.digest = hashlib.sha256(candidate.files[FLOAT]).hexdigest()
        self.manifest = candidate.manifest
        truth = self._truth(images.threshold)
        self.float_line, line = (
            operating.choose(truth, self._found(name, candidate.runners[name], images.threshold), self.detector.labels)
            for name in (FLOAT, INT8_ONNX)
        )
        return line

    def see(self, runners: dict[str, Runner], images: Split, track: Track) -> dict[str, Seen]:
        """Boxes in the test images."""
        return {name: self._found(name, runner, track(images.test, name)) for name, runner in runners.items()}

    def _found(self, name: str, runner: Runner, paths: Any) -> Seen:
        head = Head(real(self.manifest) if name == FLOAT else self.manifest, detection.LEAST)
        found = []
        for path in paths:
            image = picture.read(path)
            outputs = runner.backend.run(runner.preprocess(image)) if isinstance(runner, Integer) else runner(image)
            found.append(head(outputs, image.shape[:2]))
        return found

    def figures(self, seen: dict[str, Seen], images: Split, line: Line) -> dict[str, Any]:
        truth, labels = self._truth(images.test), self.detector.labels
        found: dict[str, Any] = {}
        for name, boxes in seen.items():
            reached = detection.precision(truth, boxes, labels)
            found[f"map50_{name}"], found[f"map_{name}"] = reached.map50, reached.map
            found[f"map50_interval_{name}"] = detection.interval(truth, boxes, labels)
        here = operating.at(line.score, truth, seen[INT8_ONNX], labels)
        counts = {part: len(paths) for part, paths in self.parts(images).items()}
        return found | {
            "precision": here.precision,
            "recall": here.recall,
            "f1": here.f1,
            "threshold": msgspec.to_builtins(line),
            "images": counts | {"test_objects": here.objects},
            "machine": this_machine().cpu,
            DIGEST: self.digest,
        }

    def settings(self, _images: Split, line: Line) -> dict[str, Any]:
        return {"labels": self.detector.labels, "threshold": line.score}

    def examples(self, images: Split) -> list[Path]:
        return images.test[:_SAMPLES]

    def evidence(self, images: Split, seen: dict[str, Seen], line: Line) -> dict[str, Any]:
        lines = self.float_line.score, line.score
        return evidence(images.test, self._truth(images.test), seen, lines, self.detector.labels)

    def _truth(self, paths: list[Path]) -> list[tuple[Object, ...]]:
        return [self.truth[path] for path in paths]
