"""Runners that give the float and the int8 models one interface: image in, outputs by name out.

An int8 model runs with the runtime's own preprocessing and back ends. The float model never ships; it runs in ONNX
Runtime with the same preprocessing, on one thread like the others.
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
from vedette.runtime.evaluation.interleaved_timing import Timing, time_interleaved
from vedette.runtime.inference.backends import Backend
from vedette.runtime.inference.float_model import FloatModel
from vedette.runtime.inference.heads.detect import DetectHead
from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.inference.preprocess import Preprocess


class ModelRunner(Protocol):
    """A model with its preprocessing."""

    manifest: Manifest
    """Its inputs and outputs."""

    def __call__(self, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run the model on one image.

        Args:
            image: H x W x 3, uint8, BGR

        Returns:
            Output name -> its real values, in the shape of the manifest.
        """

    def run_input(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run the model on a preprocessed image, 1 x height x width x 3, uint8; outputs as above."""


def run_on_images(runner: ModelRunner, paths: Iterable[Path], output: str) -> NDArray[Any]:
    """One output of a model for image files, n x K."""
    return np.stack([runner(image_files.read_image(path))[output].ravel() for path in paths])


class Int8Runner:
    """Runs an int8 model in one of the runtime's back ends.

    Args:
        backend: the loaded model
        manifest: its inputs and outputs
        inspector: cuts what the model sees out of an image; None: the model sees the whole image
    """

    def __init__(self, backend: Backend, manifest: Manifest, inspector: Inspector | None = None) -> None:
        self.preprocess = Preprocess(manifest.input, inspector)
        self.backend = backend
        self.manifest = manifest

    def __call__(self, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        tensor, placement = self.preprocess.inspect(image)
        if not placement.found:
            return _highest_outputs(self.manifest)
        return self.run_input(tensor)

    def run_input(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """As the protocol says."""
        integers = self.backend.run(tensor)
        return {
            output.name: output.scale * (integers[output.name].astype(np.float32) - output.zero_point)
            for output in self.manifest.outputs
        }


class FloatRunner:
    """Runs the float model.

    Args:
        model: the ONNX file
        manifest: inputs and outputs of the int8 model
        inspector: as in `Int8Runner`
    """

    def __init__(self, model: bytes, manifest: Manifest, inspector: Inspector | None = None) -> None:
        self.reference = FloatModel(model, manifest)
        self.manifest = self.reference.manifest
        identity = msgspec.structs.replace(self.manifest.input, mean=0.0, std=1.0, scale=1.0, zero_point=0)
        self.preprocess = Preprocess(identity, inspector)

    def __call__(self, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        pixels, placement = self.preprocess.inspect(image)
        if not placement.found:
            return _highest_outputs(self.manifest)
        return self.run_input(pixels)

    def run_input(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """As the protocol says; each value of the tensor is a pixel."""
        spec = self.manifest.input
        return self.reference.run_normalized((tensor.astype(np.float32) - spec.mean) / spec.std)


def _highest_outputs(manifest: Manifest) -> dict[str, NDArray[Any]]:
    """The outputs for an image in which the part was not found: it is never good."""
    return {output.name: np.full(output.shape, output.highest, np.float32) for output in manifest.outputs}


ImageDetections = list[tuple[Prediction, ...]]
"""Detections of an object detector for each image, including those with a low score."""


def detect_objects(runner: ModelRunner, paths: Iterable[Path]) -> ImageDetections:
    """Run an object detector on image files, with the decoding that runs on the device.

    An int8 model passes its int8 outputs to the decoding, as on the device.
    """
    head = DetectHead(runner.manifest, coco_map.MIN_SCORE)
    detections = []
    for path in paths:
        image = image_files.read_image(path)
        outputs = runner.backend.run(runner.preprocess(image)) if isinstance(runner, Int8Runner) else runner(image)
        detections.append(head(outputs, image.shape[:2]))
    return detections


def measure_speed(runners: dict[str, ModelRunner], path: Path, rounds: int = 100) -> dict[str, Timing]:
    """Time of one frame by model, preprocessing included; the models run in turn."""
    image = image_files.read_image(path)
    return time_interleaved({name: partial(runner, image) for name, runner in runners.items()}, rounds)
