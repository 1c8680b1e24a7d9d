"""Does the bundle compute on this machine what was promised, and how well does it do on given images?

Everything runs through the very code that the daemon runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..bundle.bundle import Bundle
from ..bundle.manifest import Manifest
from ..camera import image_files
from ..errors import ConfigProblem
from ..inference import float_model, heads
from ..inference.backends import Backend, available
from ..inference.golden_outputs import difference, tolerance
from ..inference.heads.classify import Classify
from ..inference.heads.detect import Detect
from ..inference.preprocess import Preprocess
from . import coco_map, object_annotations, video_evaluation
from .metrics import auroc, auroc_interval, calibration_error, confusion, share_interval

Track = Callable[[Iterable[Any], str], Iterable[Any]]
"""Wraps what a loop goes through, to show its progress under a label."""


class Golden(msgspec.Struct, frozen=True):
    """One back end against the golden outputs."""

    version: str
    max_steps: int
    reproduced: bool


class Report(msgspec.Struct, omit_defaults=True):
    """What `vedette verify` found."""

    bundle: str
    model: str
    golden: dict[str, Golden]
    verified: bool
    good: int = 0
    defect: int = 0
    what: str = "images"
    auroc_int8_onnx: float | None = None
    auroc_int8_tflite: float | None = None
    auroc_interval: dict[str, tuple[float, float]] = {}
    false_alarm_rate: dict[str, float] = {}
    """Share of the good images at or above the threshold."""
    detection_rate: dict[str, float] = {}
    """Share of the defective images at or above the threshold."""
    images: dict[str, int] = {}
    """Of each class, for a classifier; what follows is a classifier's, too."""
    accuracy_int8_onnx: float | None = None
    """Share of the images whose likeliest class is the right one, however sure it is."""
    accuracy_int8_tflite: float | None = None
    accuracy_interval: dict[str, tuple[float, float]] = {}
    coverage: dict[str, float] = {}
    """Share of the images that are answered, not called unknown."""
    accuracy_answered: dict[str, float] = {}
    """Share of the answers that are right; absent where there is none."""
    ece: dict[str, float] = {}
    """How far confidence and accuracy are apart."""
    confusion: dict[str, list[list[int]]] = {}
    """Images of each class (rows) by their likeliest class (columns), in the order of `images`."""
    pictures: int = 0
    """Of a detector; what follows is a detector's, too."""
    objects: int = 0
    """That are marked in them."""
    map50_float: float | None = None
    """Of the float model, where it lies beside the bundle as NAME.float.onnx."""
    map50_int8_onnx: float | None = None
    """Mean average precision of boxes that overlap by half."""
    map50_int8_tflite: float | None = None
    map: dict[str, float] = {}
    """The mean over overlaps from 0.5 to 0.95."""


def score(bundle: Bundle, backend: Backend, paths: Iterable[Path]) -> list[float]:
    """The score of each image, through the daemon's own preprocessing, back end and head.

    Raises:
        ConfigProblem: an image cannot be read.
    """
    preprocess, head = Preprocess(bundle.manifest.input), heads.load(bundle.manifest)
    scores = []
    for path in paths:
        predictions = head(backend.run(preprocess(image_files.read(path))))
        scores.append(max(prediction.score for prediction in predictions))
    return scores


def verify(bundle: Bundle, data: Path | None = None, track: Track = lambda paths, _: paths) -> Report:
    """Golden outputs on every back end that loads here and, with `data`, the accuracy on `data`.

    Args:
        bundle: a verified bundle
        data: for an anomaly model a folder that holds images in `good/` and, to tell the accuracy, in `defect/`; for a
            classifier one that holds them in folders named like its classes, other folders not being looked at; for a
            detector one with `images/` and `labels/` (YOLO's or COCO's); for a model of behaviour one with recordings
            in `normal/` and, to tell the accuracy, in other folders
        track: wraps each list of images, to show progress; the second argument is a label

    Raises:
        ConfigProblem: a folder that is needed is missing or empty, or an image cannot be read.
    """
    loaded = available(bundle)
    golden = {}
    for name, backend in loaded.items():
        steps = difference(bundle, backend)
        golden[name] = Golden(backend.version, steps, steps <= tolerance(backend))
    report = Report(
        bundle=str(bundle.path),
        model=bundle.manifest.model_id,
        golden=golden,
        verified=all(each.reproduced for each in golden.values()),
    )
    if data is None:
        return report

    if bundle.manifest.task == "embed":
        hint = "leave --data out: the golden vectors are compared without it"
        raise ConfigProblem(f"{bundle.path}: an embedding has no accuracy to measure with {data}", hint=hint)
    if bundle.manifest.boxes is not None:
        _detect(report, bundle, loaded, data, track)
    elif bundle.manifest.motion is not None:
        video_evaluation.verify(report, bundle, loaded, data, track)
    elif bundle.manifest.temperature is None:
        _anomaly(report, bundle, loaded, data, track)
    else:
        _classify(report, bundle, loaded, data, track)
    return report


def _anomaly(report: Report, bundle: Bundle, loaded: dict[str, Backend], data: Path, track: Track) -> None:
    good = image_files.find(data / "good")
    defect = image_files.find(data / "defect") if (data / "defect").exists() else []
    report.good, report.defect = len(good), len(defect)
    threshold = bundle.manifest.threshold
    for name, backend in loaded.items():
        fine = score(bundle, backend, track(good, f"{name}: good"))
        report.false_alarm_rate[name] = sum(each >= threshold for each in fine) / len(fine)
        if defect:
            odd = score(bundle, backend, track(defect, f"{name}: defect"))
            report.detection_rate[name] = sum(each >= threshold for each in odd) / len(odd)
            setattr(report, f"auroc_int8_{name}", auroc(fine, odd))
            report.auroc_interval[name] = auroc_interval(fine, odd)


def _classify(report: Report, bundle: Bundle, loaded: dict[str, Backend], data: Path, track: Track) -> None:
    manifest = bundle.manifest
    found = {label: image_files.find(data / label) for label in manifest.classes if (data / label).is_dir()}
    if not found:
        hint = f"it should hold images in folders named {', '.join(manifest.classes)}"
        raise ConfigProblem(f"{data}: no folder of a class in it", hint=hint)
    report.images = {label: len(found.get(label, [])) for label in manifest.classes}
    paths = [path for each in found.values() for path in each]
    truth = np.repeat(np.arange(len(manifest.classes)), list(report.images.values()))
    preprocess, head = Preprocess(manifest.input), Classify(manifest)
    for name, backend in loaded.items():
        images = (image_files.read(path) for path in track(paths, name))
        probabilities = np.stack([head.probabilities(backend.run(preprocess(image))) for image in images])
        sure, said = probabilities.max(axis=1), probabilities.argmax(axis=1)
        right, answered = said == truth, sure >= manifest.threshold
        setattr(report, f"accuracy_int8_{name}", float(right.mean()))
        report.accuracy_interval[name] = share_interval(int(right.sum()), len(right))
        report.coverage[name] = float(answered.mean())
        if answered.any():
            report.accuracy_answered[name] = float(right[answered].mean())
        report.ece[name] = calibration_error(sure, right)
        report.confusion[name] = confusion(truth, said, len(manifest.classes)).tolist()


def _detect(report: Report, bundle: Bundle, loaded: dict[str, Backend], data: Path, track: Track) -> None:
    manifest = bundle.manifest
    labels = data / "labels" if (data / "labels").exists() else data / "labels.json"
    truth = object_annotations.read(data / "images", labels, manifest.labels)
    report.pictures, report.objects = len(truth), sum(map(len, truth.values()))
    models: dict[str, tuple[Any, Manifest]] = {f"int8_{name}": (each, manifest) for name, each in loaded.items()}
    if (beside := float_model.beside(bundle)) is not None:
        models["float"] = beside, beside.manifest
    for name, (model, about) in models.items():
        preprocess, head = Preprocess(about.input), Detect(about, coco_map.LEAST)
        images = (image_files.read(path) for path in track(list(truth), name))
        seen = [head(model.run(preprocess(image)), image.shape[:2]) for image in images]
        reached = coco_map.precision(list(truth.values()), seen, manifest.labels)
        setattr(report, f"map50_{name}", reached.map50)
        report.map[name] = reached.map
