"""The models of a build, run alike: what each makes of an image, how long it takes, how far they differ.

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
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation import coco_map
from vedette.runtime.evaluation.interleaved_timing import interleaved
from vedette.runtime.inference.backends import Backend
from vedette.runtime.inference.float_model import Reference
from vedette.runtime.inference.heads.detect import Detect
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.inference.preprocess import Preprocess


class Runner(Protocol):
    """A model behind its preprocessing."""

    manifest: Manifest
    """What it takes and gives."""

    def __call__(self, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """H x W x 3, uint8, blue-green-red -> each output by name, as real numbers, in the manifest's shape."""


class Integer:
    """An int8 model in one of the runtime's back ends."""

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self.preprocess = Preprocess(manifest.input)
        self.backend = backend
        self.manifest = manifest

    def __call__(self, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        integers = self.backend.run(self.preprocess(image))
        return {
            each.name: each.scale * (integers[each.name].astype(np.float32) - each.zero_point)
            for each in self.manifest.outputs
        }


class Float:
    """The float model."""

    def __init__(self, model: bytes, manifest: Manifest) -> None:
        self.reference = Reference(model, manifest)
        self.manifest = self.reference.manifest
        plain = msgspec.structs.replace(self.manifest.input, mean=0.0, std=1.0, scale=1.0, zero_point=0)
        self.preprocess = Preprocess(plain)

    def __call__(self, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        pixels, spec = self.preprocess(image).astype(np.float32), self.manifest.input
        return self.reference.of((pixels - spec.mean) / spec.std)


Seen = list[tuple[Prediction, ...]]
"""What a detector makes of some images, doubtful boxes too."""


def boxes(runner: Runner, paths: Iterable[Path]) -> Seen:
    """What a detector finds in images, read by the head that runs on the device; integers as integers."""
    head = Detect(runner.manifest, coco_map.LEAST)
    found = []
    for path in paths:
        image = image_files.read(path)
        outputs = runner.backend.run(runner.preprocess(image)) if isinstance(runner, Integer) else runner(image)
        found.append(head(outputs, image.shape[:2]))
    return found


def speed(runners: dict[str, Runner], path: Path, rounds: int = 100) -> dict[str, float]:
    """Milliseconds of one frame, preprocessing included, taken in turn: medians `ms_…`, 95th percentiles `p95_ms_…`."""
    image = image_files.read(path)
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
