"""Object detectors of the user's own: made integer, and judged by mean average precision on labelled images.

Images are audited and divided like all others. Those to fit and to calibrate set the ranges and, where integers lose
too much, teach; from those for the threshold comes the score at which the detector is believed; together they judge
sizes of the input, where time is given to try some (sizes.py). The figures are those of the test images, which nothing
has seen. The float model and both files are read by the very head that will run on the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from vedette.devices import DeviceProfile, this_machine
from vedette.runtime.errors import ConfigProblem, written_in
from vedette.runtime.evaluation import coco_map, object_annotations
from vedette.runtime.evaluation.object_annotations import GroundTruth, Object
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.inference.float_model import DIGEST

from ..data import split
from ..data.split import Split
from ..evaluation import operating_point
from ..evaluation.built_models import FLOAT, INT8_ONNX, Candidate, Fitted
from ..evaluation.model_runners import Runner, Seen, boxes
from ..evaluation.operating_point import Line
from ..export.tflite.operators import check
from ..goal.goal_file import Goal
from ..graph.importers import detector
from ..report.detect_page import evidence
from ..search.input_size import Pictures, Sizes
from ..search.study import Effort

MOST = 200  # images that the ranges are taken from, and as many that judge
_SAMPLES = 8


class Detect:
    """Boxes around objects."""

    what = "a detector of your own"

    def __init__(self, goal: Goal, device: DeviceProfile) -> None:
        self.goal, self.device = goal, device
        self.truth: GroundTruth = {}

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Split:
        data, model = self.goal.data, self.goal.model
        self.base, self.detector = base, detector.load(base, model)
        check(self.detector.model)  # before the images are read
        if model.licence == type(model)().licence:
            say(f"the licence of {Path(str(model.onnx or model.tflite)).name} is not stated: say it as model.licence")
        folder = base / str(data.images)
        with written_in("data.labels"):
            self.truth = object_annotations.read(folder, base / str(data.labels), self.detector.labels)
        if not any(self.truth.values()):
            hint = "mean average precision needs objects to find"
            raise ConfigProblem(f"data.labels: {base / str(data.labels)}: no object is marked in any image", hint=hint)
        with written_in("data.images, which are taken for good ones"):
            named = msgspec.structs.replace(data, good=str(data.images))
            images = split.find(named, base)
            if left := [each for each in images.by_label["good"] if each not in self.truth]:
                say(f"left out: {len(left)} images that the labels do not list")
                images.by_label["good"] = [each for each in images.by_label["good"] if each in self.truth]
            found, summary = split.looked_over(images, base, track, say)
            divided = split.split(named, base, images, found)
        say(f"{sum(map(len, self._truth(divided.test)))} objects in {len(divided.test)} test images")
        return msgspec.structs.replace(divided, audit=summary)

    def parts(self, images: Split) -> dict[str, list[Path]]:
        return {part: getattr(images, part) for part in ("fit", "calibrate", "threshold", "test")}

    def fit(
        self, images: Split, effort: Effort | None, folder: Path, track: Track, say: Callable[[str], None]
    ) -> Fitted:
        """Nothing is fitted anew but the integers; the test images have no part in it."""
        whole, some = self.detector, [*images.calibrate, *images.fit][:MOST]
        judging = [*images.threshold, *some][:MOST]
        pictures = Pictures(some, {path: self.truth[path] for path in judging})
        self.sizes = Sizes(self.goal, self.device, whole, pictures, folder, track, say)
        self.chosen = self.sizes.run(self.base, effort)
        self.detector, made = self.chosen.detector, self.chosen.made
        return Fitted(whole.model, made.int8, made.exact, made.steps, self.detector.about)

    def draw(self, candidate: Candidate, images: Split) -> Line:
        self.digest = hashlib.sha256(candidate.files[FLOAT]).hexdigest()
        truth = self._truth(images.threshold)
        self.float_line, line = (
            operating_point.choose(truth, boxes(candidate.runners[name], images.threshold), self.detector.labels)
            for name in (FLOAT, INT8_ONNX)
        )
        return line

    def see(self, runners: dict[str, Runner], images: Split, track: Track) -> dict[str, Seen]:
        """Boxes in the test images."""
        return {name: boxes(runner, track(images.test, name)) for name, runner in runners.items()}

    def figures(self, seen: dict[str, Seen], images: Split, line: Line) -> dict[str, Any]:
        truth, labels = self._truth(images.test), self.detector.labels
        found: dict[str, Any] = {}
        for name, some in seen.items():
            reached = coco_map.precision(truth, some, labels)
            found[f"map50_{name}"], found[f"map_{name}"] = reached.map50, reached.map
            found[f"map50_interval_{name}"] = coco_map.interval(truth, some, labels)
        here = operating_point.at(line.score, truth, seen[INT8_ONNX], labels)
        counts = {part: len(paths) for part, paths in self.parts(images).items()}
        counts |= {"test_objects": here.objects, "judging": len(self.sizes.pictures.truth)}
        return found | {
            "precision": here.precision,
            "recall": here.recall,
            "f1": here.f1,
            "threshold": msgspec.to_builtins(line),
            "images": counts,
            "machine": this_machine().cpu,
            "input": self.detector.input.width,
            "speedup": self.sizes.ruler.whole / self.chosen.size.effort,
            "speedup_by": self.sizes.ruler.unit,
            "trials": [msgspec.to_builtins(each.size) for each in self.sizes.tried],
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
