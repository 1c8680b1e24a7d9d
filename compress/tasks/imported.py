"""Networks of the user's own: classifiers and embeddings, which are not fitted here but only made integer.

The images take the same way as for ours: audited, divided by groups, ranges from some, the line from others, figures
from those that are left. What there is to say beside accuracy is how well int8 keeps to float: the cosine of their
outputs, image by image, and how often both call the same class the likeliest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from vedette.devices import DeviceProfile, this_machine
from vedette.runtime.bundle.manifest import UNKNOWN
from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem, written_in
from vedette.runtime.evaluation.metrics import calibration_error, share_interval
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.inference.heads.classify import softmax

from ..data import split, stratified_split
from ..data.split import Split
from ..data.stratified_split import Labelled
from ..evaluation import confidence_calibration
from ..evaluation.built_models import FLOAT, INT8_ONNX, Candidate, Fitted
from ..evaluation.confidence_calibration import Confidence
from ..evaluation.model_runners import Runner
from ..export import onnx2tf_fallback
from ..export.tflite.operands import Refused
from ..export.tflite.operators import check
from ..goal.goal_file import Goal
from ..graph.importers import network
from ..quantization.quantize_imported import int8
from ..report.classify_page import disagreement
from ..report.html_report import embed as picture_url
from ..report.html_report import sample
from ..report.imported_page import cosine_of, neighbours
from ..search.study import Effort
from .classify import ERROR_RATE

MOST = 200  # images that the ranges are taken from
_SAMPLES = 8


class Own:
    """What both have in common."""

    output: str
    """Name of the output."""
    what: str

    def __init__(self, goal: Goal, _device: DeviceProfile) -> None:
        self.goal = goal
        self.model: onnx.ModelProto

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Split | Labelled:
        self.model, self.spec = network.load(base, self.goal.model, self.output)
        try:
            check(self.model)  # before the images are read
        except Refused as refused:
            say(f"{refused.message}; {onnx2tf_fallback.program(refused)} makes a float file")
        data = self.goal.data
        if data.classes is not None:
            return stratified_split.audited(data, base, track, say)
        with written_in("data.images, which are taken for good ones"):
            named = msgspec.structs.replace(data, good=str(data.images))
            images = split.find(named, base)
            found, summary = split.looked_over(images, base, track, say)
            return msgspec.structs.replace(split.split(named, base, images, found), audit=summary)

    def parts(self, images: Split | Labelled) -> dict[str, list[Path]]:
        return {part: getattr(images, part) for part in ("fit", "calibrate", "threshold", "test")}

    def fit(
        self, images: Split | Labelled, _effort: Effort | None, _folder: Path, track: Track, _say: Callable[[str], None]
    ) -> Fitted:
        """Nothing is fitted: the images of `fit` set the ranges, with those of `calibrate`."""
        some = [*images.calibrate, *images.fit][:MOST]
        pixels = split.tensors(track(some, "ranges"), self.spec)
        return Fitted(self.model, int8(self.model, pixels, self.spec), self.model)

    def see(self, runners: dict[str, Runner], images: Split | Labelled, track: Track) -> dict[str, NDArray[Any]]:
        """Outputs for the test images, n x K."""
        return {name: self.outputs(runner, track(images.test, name)) for name, runner in runners.items()}

    def outputs(self, runner: Runner, paths: Any) -> NDArray[Any]:
        return np.stack([runner(image_files.read(path))[self.output].ravel() for path in paths])

    def examples(self, images: Split | Labelled) -> list[Path]:
        return images.test[:_SAMPLES]

    def common(self, seen: dict[str, NDArray[Any]], images: Split | Labelled) -> dict[str, Any]:
        """How well each int8 file keeps to the float model."""
        found: dict[str, Any] = {}
        for name, outputs in seen.items():
            if name != FLOAT:
                cosine = cosine_of(seen[FLOAT], outputs)
                found[f"cosine_{name}"], found[f"cosine_least_{name}"] = float(cosine.mean()), float(cosine.min())
        counts = {part: len(paths) for part, paths in self.parts(images).items()}
        return found | {"images": counts, "machine": this_machine().cpu}

    def pictures(self, images: Split | Labelled, order: NDArray[Any], texts: list[str]) -> list[dict[str, str]]:
        """Test images in this order, with a text for each."""
        return [
            {"name": images.test[place].name, "text": texts[place], "image": picture_url(sample(images.test[place]))}
            for place in order[:_SAMPLES]
        ]


class Embed(Own):
    """One vector for each image."""

    output, what = "vector", "an embedding network"

    def draw(self, _candidate: Candidate, _images: Split | Labelled) -> None:
        """There is no line in a space of vectors."""

    def figures(self, seen: dict[str, NDArray[Any]], images: Split | Labelled, _line: None) -> dict[str, Any]:
        found = self.common(seen, images) | {"cosine_fp32": 1.0, "width": seen[FLOAT].shape[1]}
        for name, vectors in seen.items():
            cosine = cosine_of(seen[FLOAT], vectors)
            spread = 1.96 * float(cosine.std()) / len(cosine) ** 0.5
            found[f"cosine_interval_{name}"] = (float(cosine.mean()) - spread, min(float(cosine.mean()) + spread, 1.0))
        return found

    def settings(self, _images: Split | Labelled, _line: None) -> dict[str, Any]:
        return {"labels": (), "threshold": 0.0}

    def evidence(self, images: Split | Labelled, seen: dict[str, NDArray[Any]], _line: None) -> dict[str, Any]:
        cosine = cosine_of(seen[FLOAT], seen[INT8_ONNX])
        texts = [f"cosine {each:.4f}" for each in cosine]
        title = "Least like float"
        rows = [{"title": title, "pictures": self.pictures(images, cosine.argsort(), texts)}]
        return {"page": "own", "rows": rows, **neighbours(images.test, seen[FLOAT], seen[INT8_ONNX])}


class OwnClassify(Own):
    """One score for each class."""

    output, what = "scores", "a classifier of your own"

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Split | Labelled:
        images = super().divide(base, track, say)
        self.labels = self._labels(base, images, network.width(self.model))
        return images

    def draw(self, candidate: Candidate, images: Split | Labelled) -> Confidence | None:
        if not isinstance(images, Labelled):
            return None
        truth, wished = self._truth(images, images.threshold), self.goal.goal.error_rate or ERROR_RATE
        self.float_line, line = (
            confidence_calibration.choose(self.outputs(candidate.runners[name], images.threshold), truth, wished)
            for name in (FLOAT, INT8_ONNX)
        )
        return line

    def figures(
        self, seen: dict[str, NDArray[Any]], images: Split | Labelled, line: Confidence | None
    ) -> dict[str, Any]:
        found = self.common(seen, images)
        best = {name: scores.argmax(axis=1) for name, scores in seen.items()}
        for name in seen:
            found[f"accuracy_{name}"] = None
            if name != FLOAT:
                found[f"agreement_{name}"] = float((best[name] == best[FLOAT]).mean())
        if line is None or not isinstance(images, Labelled):
            return found | {"answered": len(images.test), "errors": 0}
        truth = self._truth(images, images.test)
        for name, scores in seen.items():
            right = best[name] == truth
            sure = softmax(scores, line.temperature).max(axis=1)
            found[f"accuracy_{name}"] = float(right.mean())
            found[f"accuracy_interval_{name}"] = share_interval(int(right.sum()), len(right))
            found[f"ece_{name}"] = calibration_error(sure, right)
        right, answered = best[INT8_ONNX] == truth, softmax(seen[INT8_ONNX], line.temperature).max(axis=1) >= line.level
        return found | {
            "coverage": float(answered.mean()),
            "accuracy_answered": float(right[answered].mean()) if answered.any() else None,
            "answered": int(answered.sum()),
            "errors": int((answered & ~right).sum()),
            "threshold": msgspec.to_builtins(line),
        }

    def settings(self, images: Split | Labelled, line: Confidence | None) -> dict[str, Any]:
        known = images.normal if isinstance(images, Labelled) else self.goal.data.normal or ()
        return {
            "labels": (*self.labels, UNKNOWN),
            "normal": known,
            "threshold": line.level if line else 0.0,
            "temperature": line.temperature if line else 1.0,
        }

    def evidence(
        self, images: Split | Labelled, seen: dict[str, NDArray[Any]], line: Confidence | None
    ) -> dict[str, Any]:
        scores = seen[FLOAT], seen[INT8_ONNX]
        lines = None if line is None else (self.float_line, line)
        return {"page": "own", "rows": [], **disagreement(images.test, self.labels, scores, lines)}

    def _truth(self, images: Labelled, paths: list[Path]) -> NDArray[Any]:
        places = [self.labels.index(name) for name in images.classes]
        return np.array([places[number] for number in images.labels(paths)])

    def _labels(self, base: Path, images: Split | Labelled, count: int) -> tuple[str, ...]:
        """The names of the scores, in their order."""
        folders = images.classes if isinstance(images, Labelled) else ()
        name = self.goal.model.labels
        if name is None:
            labels = folders or tuple(f"class {number}" for number in range(count))
        else:
            lines = (base / name).read_text(encoding="utf-8", errors="replace").splitlines()
            labels = tuple(line.strip() for line in lines if line.strip())
        where = f"model.labels: {base / name}" if name else f"data.classes: {self.goal.data.classes}"
        hint = "one name for each score, in the order of the scores; a file of them, one a line, is model.labels"
        if len(labels) != count or len(set(labels)) < count:
            raise ConfigProblem(f"{where}: {len(set(labels))} names for {count} scores", hint=hint)
        if UNKNOWN in labels:
            raise ConfigProblem(f"{where}: no class may be called {UNKNOWN!r}", hint="rename it")
        if odd := set(folders) - set(labels):
            raise ConfigProblem(f"{where}: no name for the folder {min(odd)!r}", hint=hint)
        return labels
