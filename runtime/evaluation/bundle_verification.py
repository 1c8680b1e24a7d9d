"""Verification of a bundle on this machine: its golden outputs, and its accuracy on given images.

It runs the daemon's own preprocessing, back ends and heads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle.bundle import Bundle
from ..bundle.manifest import Manifest
from ..camera import image_files
from ..config.polygon import Polygon
from ..errors import ConfigProblem
from ..inference import float_model, heads
from ..inference.backends import Backend, auto_candidates, available_backends
from ..inference.golden_outputs import max_step_difference, step_tolerance
from ..inference.heads.classify import ClassifyHead
from ..inference.heads.detect import DetectHead
from ..inference.pipeline import InferencePipeline
from ..inference.preprocess import Preprocess
from ..inference.region_of_interest import RegionOfInterest, check_region
from ..inference.self_test import test_models
from ..progress import Progress, no_progress
from . import behaviour_evaluation, coco_map, object_annotations
from .metrics import confusion_matrix, evaluate_classification
from .verification_report import GoldenCheck, VerificationReport

log = logging.getLogger(__name__)


def score_images(bundle: Bundle, backend: Backend, paths: Iterable[Path], region: Polygon = ()) -> list[float]:
    """The score of each image, with the daemon's own preprocessing, back end and head.

    Args:
        bundle: a verified bundle
        backend: runs its model
        paths: the images
        region: the region of interest that the scores come from; empty: the whole frame

    Raises:
        ConfigProblem: an image cannot be read, or the bundle cannot have this region.
    """
    pipeline = InferencePipeline(bundle, backend, heads.load_head(bundle.manifest), region)
    scores = []
    for path in paths:
        predictions = pipeline.predict(0.0, image_files.read_image(path)) or ()
        scores.append(max(prediction.score for prediction in predictions))
    return scores


def verify_bundle(
    bundle: Bundle, data: Path | None = None, progress: Progress = no_progress, region: Polygon = ()
) -> VerificationReport:
    """Compares all back ends that load here with the golden outputs and, with `data`, measures the accuracy.

    Args:
        bundle: a verified bundle
        data: for an anomaly model, a folder with images in `good/` and, for the AUROC, in `defect/`; for a classifier,
            a folder with images in folders named like its classes, other folders being ignored; for an object detector,
            a folder with `images/` and `labels/` (YOLO or COCO); for a behaviour model, a folder with recordings in
            `normal/` and, for the AUROC, in other folders
        progress: wraps each list of images, to show progress under a label
        region: the region of interest of a camera, in which alone anomalies and objects count; empty: the whole frame

    Raises:
        BundleProblem: a model is faulty: it cannot be loaded or run by an installed back end.
        ConfigProblem: a required folder is missing or empty, an image cannot be read, or the bundle cannot have this
            region.
    """
    check_region(region, bundle.manifest)
    names = auto_candidates(bundle.manifest)
    results = test_models(bundle, names, 1)
    for result in results.values():
        if result.fault:
            raise result.problem(bundle)
    backends = available_backends(bundle, names=names)
    golden = {}
    for name, backend in backends.items():
        steps = max_step_difference(bundle, backend)
        golden[name] = GoldenCheck(backend.version, steps, steps <= step_tolerance(backend.version))
    report = VerificationReport(
        bundle=str(bundle.path),
        model=bundle.manifest.model_id,
        golden=golden,
        verified=all(each.reproduced for each in golden.values()),
        not_run={name: results[name].missing for name in bundle.manifest.compiled if results[name].missing},
        region=region,
    )
    if data is None:
        return report

    task = bundle.manifest.task
    if task not in EVALUATIONS:
        hint = "leave --data out: the golden outputs are compared without it"
        raise ConfigProblem(f"{bundle.path}: task {task} has no accuracy to measure with {data}", hint=hint)
    EVALUATIONS[task](report, bundle, backends, data, progress)
    return report


def _evaluate_anomaly_model(
    report: VerificationReport, bundle: Bundle, backends: dict[str, Backend], data: Path, progress: Progress
) -> None:
    good = image_files.find_images(data / "good")
    defect = image_files.find_images(data / "defect") if (data / "defect").exists() else []
    report.good, report.defect = len(good), len(defect)
    for name, backend in backends.items():
        good_scores = score_images(bundle, backend, progress(good, f"{name}: good"), report.region)
        listed = progress(defect, f"{name}: defect") if defect else []
        defect_scores = score_images(bundle, backend, listed, report.region)
        report.add_anomaly_scores(name, bundle.manifest.threshold, good_scores, defect_scores)
        calibration = bundle.manifest.good_scores
        if calibration is not None and report.region == bundle.manifest.scored_region:
            report.add_p_values(name, calibration, good_scores, defect_scores)


def _evaluate_classifier(
    report: VerificationReport, bundle: Bundle, backends: dict[str, Backend], data: Path, progress: Progress
) -> None:
    manifest = bundle.manifest
    by_class = {label: image_files.find_images(data / label) for label in manifest.classes if (data / label).is_dir()}
    if not by_class:
        hint = f"it should hold images in folders named {', '.join(manifest.classes)}"
        raise ConfigProblem(f"{data}: no folder of a class in it", hint=hint)
    report.images = {label: len(by_class.get(label, [])) for label in manifest.classes}
    paths = [path for each in by_class.values() for path in each]
    truth = np.repeat(np.arange(len(manifest.classes)), list(report.images.values()))
    preprocess, head = Preprocess(manifest.input), ClassifyHead(manifest)
    accuracies = {}
    for name, backend in backends.items():
        images = (image_files.read_image(path) for path in progress(paths, name))
        probabilities = np.stack([head.probabilities(backend.run(preprocess(image))) for image in images])
        confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
        result = evaluate_classification(confidence, predicted == truth, manifest.threshold)
        accuracies[name] = result.accuracy
        report.accuracy_interval[name] = result.accuracy_interval
        report.coverage[name] = result.coverage
        if result.accuracy_answered is not None:
            report.accuracy_answered[name] = result.accuracy_answered
        report.ece[name] = result.calibration_error
        report.confusion[name] = confusion_matrix(truth, predicted, len(manifest.classes)).tolist()
    for name, accuracy in accuracies.items():
        report.set_metric("accuracy", name, accuracy)


def _evaluate_object_detector(
    report: VerificationReport, bundle: Bundle, backends: dict[str, Backend], data: Path, progress: Progress
) -> None:
    manifest = bundle.manifest
    labels = data / "labels" if (data / "labels").exists() else data / "labels.json"
    truth = object_annotations.read_annotations(data / "images", labels, manifest.labels, log.warning)
    region = RegionOfInterest(report.region, manifest) if report.region else None
    if region is not None:
        truth = {path: tuple(each for each in objects if region.contains(each.box)) for path, objects in truth.items()}
    report.pictures, report.objects = len(truth), sum(map(len, truth.values()))
    models: dict[str, tuple[Any, Manifest]] = {f"int8_{name}": (each, manifest) for name, each in backends.items()}
    if (float_reference := float_model.find_beside_bundle(bundle)) is not None:
        models["float"] = float_reference, float_reference.manifest
    map50 = {}
    for name, (model, model_manifest) in models.items():
        preprocess, head = Preprocess(model_manifest.input), DetectHead(model_manifest, coco_map.MIN_SCORE)
        images = (image_files.read_image(path) for path in progress(list(truth), name))
        detections = [head(model.run(preprocess(image)), image.shape[:2]) for image in images]
        if region is not None:
            detections = [tuple(each for each in found if region.contains(each.box)) for found in detections]
        precision = coco_map.mean_average_precision(list(truth.values()), detections, manifest.labels)
        map50[name], report.map[name] = precision.map50, precision.map
    report.map50_float = map50.get("float")
    for name in backends:
        report.set_metric("map50", name, map50[f"int8_{name}"])


EVALUATIONS: dict[str, Callable[[VerificationReport, Bundle, dict[str, Backend], Path, Progress], None]] = {
    "anomaly": _evaluate_anomaly_model,
    "behaviour": behaviour_evaluation.evaluate_behaviour_model,
    "classify": _evaluate_classifier,
    "detect": _evaluate_object_detector,
}
"""How the accuracy of a bundle is measured, by the manifest's task; each function fills in the report."""
