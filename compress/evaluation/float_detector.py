"""Detections of a float detector before there is an int8 model of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vedette.runtime.bundle.manifest import FORMAT_VERSION, Manifest

from ..graph.importers.detector_import import ImportedDetector
from .model_runners import FloatRunner, ImageDetections, detect_objects


def detect_in_float(detector: ImportedDetector, paths: Iterable[Path]) -> ImageDetections:
    """Boxes in image files, those with a low score too, by the decoding that runs on the device."""
    manifest = Manifest(
        format=FORMAT_VERSION,
        name="float",
        release=1,
        task="detect",
        labels=detector.labels,
        input=detector.input_spec,
        outputs=(),
        models={},
        threshold=0.0,
        goal={},
        measured={},
        goal_met=False,
        missed=(),
        unproven=(),
        device="",
        weights=(),
        data=(),
        tools={},
        signer="",
        files={},
        boxes=detector.boxes,
    )
    return detect_objects(FloatRunner(detector.model.SerializeToString(), manifest), paths)
