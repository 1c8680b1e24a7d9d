"""Imported object detectors: quantized, and measured by mean average precision on annotated images.

Images are audited and split like all others. Those of `fit` and `calibrate` set the int8 ranges and, if quantization
loses too much, train the integers. Those of `threshold` choose the score threshold. Together they compare input sizes,
if time is given to search (search/input_size.py). The figures are those of the test images, which no step has used. The
float model and both int8 files are read by the head that runs on the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from vedette.devices import DeviceProfile, read_host_profile
from vedette.runtime.errors import ConfigProblem, locate_errors
from vedette.runtime.evaluation import coco_map, object_annotations
from vedette.runtime.evaluation.annotated_object import GroundTruth
from vedette.runtime.progress import Log, Progress

from ..data import labeled_images, split
from ..data.audit.findings import AuditResult
from ..data.labeled_images import LabeledImages
from ..data.split import Split
from ..evaluation import label_doubts, max_f1_threshold
from ..evaluation.built_models import FLOAT, INT8_ONNX, BuiltModels
from ..evaluation.detection_metrics import DetectionMetrics
from ..evaluation.float_detector import detect_in_float
from ..evaluation.max_f1_threshold import OperatingPoint
from ..evaluation.model_runners import ImageDetections, ModelRunner, detect_objects
from ..evaluation.results import DesignChoice, Measurement
from ..export.tflite.operators import check_operators
from ..goal.goal_tables import DataSettings, Goal
from ..graph.importers.detector_import import ImportedDetector, load_imported_detector
from ..models.image_size import ImageSize
from ..report.detect_page import detection_context
from ..report.doubtful_boxes import add_label_doubts
from ..report.task_report_section import TaskReportSection
from ..search.input_size import InputSizeSearch
from ..search.input_size_trial import CalibrationAndValidationImages
from ..search.search_setup import SearchSetup
from ..training.float_and_int8_model import FloatAndInt8Model
from .detection_data import DetectionData, DetectorSearchResult
from .task import GOOD_PURPOSES, Thresholds, count_images

MAX_IMAGES = 200  # images for calibration, and as many to compare input sizes
GOLDEN_IMAGES = 8


class DetectionTask:
    """Task `detect`: boxes around objects, by an imported detector."""

    description = "an imported detector"
    purposes = GOOD_PURPOSES
    trains_for_device = True
    unlearned: tuple[str, ...] = ("fit", "calibrate", "threshold")
    """Parts of the split, beside `test`, whose labels the float detector has not learned: it can judge them."""

    def __init__(self, goal: Goal, device: DeviceProfile) -> None:
        self.goal, self.device = goal, device

    def split(self, base: Path, progress: Progress, log: Log) -> DetectionData:
        data, model = self.goal.data, self.goal.model
        detector = load_imported_detector(base, model)
        check_operators(detector.model)  # before the images are read
        if model.licence == type(model)().licence:
            name = Path(str(model.onnx or model.tflite)).name
            log(f"the licence of {name} is not stated: state it as model.licence")
        notes: list[str] = []
        with locate_errors("data.labels"):
            taught, truth = self.read_objects(detector, base, notes.append)
        for note in notes:
            log(note)
        if not any(truth.values()):
            hint = "mean average precision needs annotated objects"
            text = f"data.labels: {base / str(data.labels)}: no object is annotated in any image"
            raise ConfigProblem(text, hint=hint)
        with locate_errors("data.images, which are taken for good ones"):
            as_good = msgspec.structs.replace(data, good=str(data.images))
            named = labeled_images.find_images(as_good, base)
            if unlisted := [path for path in named.by_label["good"] if path not in truth]:
                log(f"left out: {len(unlisted)} images that the labels do not list")
                named.by_label["good"] = [path for path in named.by_label["good"] if path in truth]
            audit, summary = labeled_images.audit_labeled_images(named, base, progress, log)
            images = self.split_images(as_good, base, named, audit, truth, taught.labels)
            summary["notes"] = [*notes, *summary["notes"]]
        images = msgspec.structs.replace(images, audit=summary)
        found = DetectionData(images, taught, truth, base, original=detector)
        log(f"{sum(map(len, found.truth_of(images.test)))} objects in {len(images.test)} test images")
        return found

    def read_objects(self, detector: ImportedDetector, base: Path, log: Log) -> tuple[ImportedDetector, GroundTruth]:
        """The detector with the classes of the labels, and the annotated objects of each image."""
        data = self.goal.data
        folder, labels = base / str(data.images), base / str(data.labels)
        return detector, object_annotations.read_annotations(folder, labels, detector.labels, log)

    def split_images(
        self,
        data: DataSettings,
        base: Path,
        named: LabeledImages,
        audit: AuditResult,
        _truth: GroundTruth,
        _labels: Sequence[str],
    ) -> Split:
        """The images by purpose."""
        return split.split_images(data, base, named, audit)

    def load_at(self, data: DetectionData, size: ImageSize) -> ImportedDetector:
        """The detector for an input of this size, in pixels.

        Raises:
            ConfigProblem: it has fixed sizes inside.
        """
        return load_imported_detector(data.base, msgspec.structs.replace(self.goal.model, input=size))

    def train(
        self, data: DetectionData, setup: SearchSetup | None, folder: Path, progress: Progress, log: Log
    ) -> DetectorSearchResult:
        """Quantize the detector; only the integers are trained, and only if they lose too much accuracy."""
        images = data.images
        calibration = [*images.calibrate, *images.fit][:MAX_IMAGES]
        compared = [*images.threshold, *calibration][:MAX_IMAGES]
        annotated = {path: data.truth[path] for path in compared}
        held_out = [path for path in (*images.threshold, *images.calibrate) if path in annotated]
        search_images = CalibrationAndValidationImages(
            calibration, annotated, images.fit[:MAX_IMAGES], held_out, data.memory
        )
        search = InputSizeSearch(self.goal, self.device, data.detector, search_images, folder, progress, log)
        chosen = search.run(partial(self.load_at, data), setup)
        detector, quantized = chosen.detector, chosen.quantized
        return DetectorSearchResult(
            model=FloatAndInt8Model(
                data.detector.model,  # at its own size: the reference of every comparison
                quantized.int8_model,
                quantized.float_reference,
                quantized.steps,
                detector.manifest_fields,
            ),
            detector=detector,
            chosen=chosen.result,
            trials=[trial.result for trial in search.trials],
            original_cost=search.instruction_estimator.original_cost,
            cost_unit=search.instruction_estimator.unit,
            compared_on=len(search_images.annotated),
            distillation=search.distillation,
        )

    def choose_threshold(self, models: BuiltModels, data: DetectionData) -> Thresholds[OperatingPoint]:
        paths, labels = data.images.threshold, data.detector.labels
        fp32, int8 = (
            max_f1_threshold.choose_operating_point(
                data.truth_of(paths), detect_objects(models.runners[model], paths), labels
            )
            for model in (FLOAT, INT8_ONNX)
        )
        return Thresholds(fp32, int8)

    def predict(
        self, runners: dict[str, ModelRunner], data: DetectionData, progress: Progress
    ) -> dict[str, ImageDetections]:
        """Boxes in the test images, those below the threshold too."""
        return {model: detect_objects(runner, progress(data.images.test, model)) for model, runner in runners.items()}

    def compute_metrics(
        self,
        predictions: dict[str, ImageDetections],
        data: DetectionData,
        training: DetectorSearchResult,
        thresholds: Thresholds[OperatingPoint],
    ) -> DetectionMetrics:
        truth, labels = data.truth_of(data.images.test), data.detector.labels
        map50, mean_map = {}, {}
        for model, detections in predictions.items():
            precision = coco_map.mean_average_precision(truth, detections, labels)
            map50[model] = Measurement(precision.map50, coco_map.map50_interval(truth, detections, labels))
            mean_map[model] = precision.map
        at_threshold = max_f1_threshold.evaluate_threshold(
            thresholds.int8.threshold, truth, predictions[INT8_ONNX], labels
        )
        counts = count_images(self.purposes, data.images)
        float_file = training.model.float_model.SerializeToString(deterministic=True)
        return DetectionMetrics(
            metric="map50",
            by_model=map50,
            images=counts | {"test_objects": at_threshold.objects, "judging": training.compared_on},
            machine=read_host_profile().cpu,
            threshold=thresholds.int8,
            design=DesignChoice(
                parameters={"input": msgspec.to_builtins(training.chosen.input)},
                speedup=Measurement(training.original_cost / training.chosen.cost, source=training.cost_unit),
                trials=training.trials,
            ),
            mean_map=mean_map,
            distillation=msgspec.to_builtins(training.distillation),
            at_threshold=at_threshold,
            float_model_digest=hashlib.sha256(float_file).hexdigest(),
        )

    def manifest_fields(self, data: DetectionData, thresholds: Thresholds[OperatingPoint]) -> dict[str, Any]:
        return {"labels": data.detector.labels, "threshold": thresholds.int8.threshold}

    def golden_inputs(self, data: DetectionData) -> list[Path]:
        return data.images.test[:GOLDEN_IMAGES]

    def report_context(
        self,
        predictions: dict[str, ImageDetections],
        data: DetectionData,
        training: DetectorSearchResult,
        thresholds: Thresholds[OperatingPoint],
    ) -> TaskReportSection:
        paths, labels = data.images.test, data.detector.labels
        levels = thresholds.fp32.threshold, thresholds.int8.threshold
        others = [path for part in self.unlearned for path in getattr(data.images, part)][:MAX_IMAGES]
        floating = data.detector._replace(model=training.model.float_model)
        found = [*predictions[FLOAT], *detect_in_float(floating, others)]
        audited = [*paths, *others]
        doubts = label_doubts.find_label_doubts(data.truth_of(audited), found, labels)
        section = detection_context(paths, data.truth_of(paths), predictions, levels, labels)
        return add_label_doubts(section, audited, doubts, data.base)
