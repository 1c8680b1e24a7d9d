"""What a model is worth: scores of held-out images, milliseconds, and how far its two files are apart.

The int8 models are run by the runtime's own preprocessing and back ends. The float model, which never ships, is run by
ONNX Runtime behind the same preprocessing, on one thread like the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vedette.devices import this_machine
from vedette.runtime import picture
from vedette.runtime.accuracy import auroc, auroc_interval
from vedette.runtime.backends import Backend
from vedette.runtime.manifest import Input, Manifest
from vedette.runtime.preprocess import Preprocess
from vedette.runtime.stopwatch import interleaved
from vedette.runtime.verify import Track

from . import localisation
from .dataset import Split
from .threshold import Threshold


class Runner(Protocol):
    """A model behind its preprocessing."""

    def __call__(self, image: NDArray[Any]) -> tuple[NDArray[Any], float]:
        """H x W x 3, uint8, blue-green-red -> the anomaly map, h x w, and the score, both as real numbers."""


class Integer:
    """An int8 model in one of the runtime's back ends."""

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self.preprocess = Preprocess(manifest.input)
        self.backend = backend
        self.outputs = {output.name: output for output in manifest.outputs}

    def __call__(self, image: NDArray[Any]) -> tuple[NDArray[Any], float]:
        integers = self.backend.run(self.preprocess(image))
        real = {
            name: output.scale * (integers[name].astype(np.float32) - output.zero_point)
            for name, output in self.outputs.items()
        }
        return real["map"].reshape(self.outputs["map"].shape[-2:]), float(real["score"].flat[0])


class Float:
    """The float model."""

    def __init__(self, model: bytes, spec: Input) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.preprocess = Preprocess(msgspec.structs.replace(spec, mean=0.0, std=1.0, scale=1.0, zero_point=0))
        self.spec = spec

    def __call__(self, image: NDArray[Any]) -> tuple[NDArray[Any], float]:
        pixels = self.preprocess(image).transpose(0, 3, 1, 2).astype(np.float32)
        anomaly_map, score = self.session.run(None, {self.spec.name: (pixels - self.spec.mean) / self.spec.std})
        return anomaly_map[0, 0], float(score[0])


class Seen(msgspec.Struct, frozen=True):
    """What one model made of some images."""

    maps: list[NDArray[Any]]
    scores: NDArray[Any]


def see(runner: Runner, paths: Iterable[Path]) -> Seen:
    results = [runner(picture.read(path)) for path in paths]
    return Seen([each for each, _ in results], np.array([score for _, score in results]))


def see_all(runners: dict[str, Runner], images: Split, track: Track) -> dict[str, tuple[Seen, Seen]]:
    """What each model makes of the good and of the defective test images."""
    return {
        name: (
            see(runner, track(images.test, f"{name}: good")),
            see(runner, track(images.defect, f"{name}: defect")),
        )
        for name, runner in runners.items()
    }


def figures(seen: dict[str, tuple[Seen, Seen]], images: Split, line: Threshold, size: int) -> dict[str, Any]:
    """Accuracy of all models, and what happens at the threshold; the keys are those of the manifest's `measured`."""
    found: dict[str, Any] = {}
    for name, (good, defect) in seen.items():
        found |= accuracy(name, good, defect)
    truths = localisation.read(images, size)
    for name, suffix in (("fp32", "_fp32"), ("int8_onnx", "")):
        good, defect = seen[name]
        areas = localisation.areas(good.maps, defect.maps, truths, size)
        found |= {"pixel_auroc" + suffix: areas.pixel_auroc, "aupro" + suffix: areas.aupro}
    alarms = int((good.scores >= line.score).sum())
    return found | {
        **at(line.score, good.scores, defect.scores),
        "false_alarms": alarms,
        "false_alarm_rate": alarms / len(good.scores),
        "detection_rate": float((defect.scores >= line.score).mean()) if len(defect.scores) else None,
        "threshold": msgspec.to_builtins(line),
        "images": {
            **{part: len(getattr(images, part)) for part in ("fit", "calibrate", "threshold")},
            "test_good": len(images.test),
            "test_defect": len(images.defect),
            "masks": len(truths),
        },
        "machine": this_machine().cpu,
    }


def accuracy(name: str, good: Seen, defect: Seen) -> dict[str, Any]:
    """AUROC and its 95 % interval, under keys that end in `name`; None where there is nothing to compare."""
    if not len(defect.scores):
        return {f"auroc_{name}": None, f"auroc_interval_{name}": None}
    return {
        f"auroc_{name}": auroc(good.scores, defect.scores),
        f"auroc_interval_{name}": auroc_interval(good.scores, defect.scores),
    }


def at(line: float, good: NDArray[Any], defect: NDArray[Any]) -> dict[str, float | None]:
    """Precision, recall and F1 of alarms, a defect being what is looked for, and the best F1 that any threshold has.

    Precision and F1 depend on how many of the test images are defective. The best F1 is chosen on the images that it is
    measured on: a reference that flatters.
    """
    if not len(defect):
        return dict.fromkeys(("precision", "recall", "f1", "best_f1"))
    levels = np.append(np.unique(np.concatenate([good, defect])), line)
    found = len(defect) - np.searchsorted(np.sort(defect), levels)
    false = len(good) - np.searchsorted(np.sort(good), levels)
    f1 = 2 * found / (found + false + len(defect))
    alarms = int(found[-1] + false[-1])
    return {
        "precision": float(found[-1] / alarms) if alarms else None,
        "recall": float(found[-1] / len(defect)),
        "f1": float(f1[-1]),
        "best_f1": float(f1.max()),
    }


def speed(runners: dict[str, Runner], path: Path, rounds: int = 100) -> dict[str, float]:
    """Milliseconds of one frame, preprocessing included, taken in turn: medians `ms_…`, 95th percentiles `p95_ms_…`."""
    image = picture.read(path)
    timings = interleaved({name: partial(runner, image) for name, runner in runners.items()}, rounds)
    return {
        **{f"ms_{name}": timing.median for name, timing in timings.items()},
        **{f"p95_ms_{name}": timing.p95 for name, timing in timings.items()},
    }


def parity(backends: dict[str, Backend], tensors: Iterable[NDArray[Any]]) -> int:
    """The largest difference between any two back ends over all outputs, in integer steps."""
    largest = 0
    for tensor in tensors:
        runs = [backend.run(tensor) for backend in backends.values()]
        for name in runs[0]:
            spread = np.ptp(np.stack([run[name] for run in runs]).astype(int), axis=0)
            largest = max(largest, int(spread.max()))
    return largest
