"""Detections of a float detector before there is an int8 model of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vedette.runtime.bundle.manifest import FORMAT_VERSION, Manifest
from vedette.runtime.evaluation import coco_map
from vedette.runtime.evaluation.annotated_object import GroundTruth

from ..graph.importers.detector_import import ImportedDetector
from .model_runners import FloatRunner, ImageDetections, detect_objects


def measure_float_map50(detector: ImportedDetector, paths: Sequence[Path], truth: GroundTruth) -> float:
    """mAP50 of a float detector on image files with annotated objects."""
    detections = detect_in_float(detector, paths)
    return coco_map.mean_average_precision([truth[path] for path in paths], detections, detector.labels).map50


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
