"""Object detectors that learn the classes of their labels: fine-tuned, then quantized and measured like imported ones.

The images of `fit` train the last layers. Those of `calibrate` and `threshold` decide when training stops; they also do
what they do for an imported detector. No step sees the test images. Beside the figures stands what the detector gives
without training, with its own classes mapped to the new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
from onnx import numpy_helper

from vedette.devices import DeviceProfile
from vedette.runtime.evaluation import coco_map
from vedette.runtime.evaluation.annotated_object import GroundTruth
from vedette.runtime.progress import Log, Progress

from ..data import object_classes
from ..data.audit.findings import AuditResult
from ..data.labeled_images import LabeledImages
from ..data.split import Split
from ..evaluation.detection_metrics import DetectionMetrics, TrainingFigures, TrainingStep
from ..evaluation.float_detector import detect_in_float, measure_float_map50
from ..evaluation.max_f1_threshold import OperatingPoint
from ..evaluation.model_runners import ImageDetections
from ..evaluation.results import Measurement
from ..goal.goal_tables import DataSettings, Goal
from ..goal.recipe import DetectorTrainingSettings, load_recipe
from ..graph.class_channels import replace_classes
from ..graph.editing import copy_with_weights
from ..graph.importers.detector_import import ImportedDetector
from ..models.image_size import ImageSize
from ..search.search_setup import SearchSetup
from ..training import class_mapping
from ..training.box_outputs import BoxReader
from ..training.detector_fine_tuning import AnnotatedImages, DetectorTraining, fine_tune_in_steps
from .detect import DetectionTask
from .detection_data import DetectionData, DetectorSearchResult
from .task import Thresholds


class TrainedDetectionTask(DetectionTask):
    """Task `detect` with `use = "train"`."""

    description = "an imported detector on new classes"
    unlearned = ("calibrate", "threshold")

    def __init__(self, goal: Goal, device: DeviceProfile) -> None:
        super().__init__(goal, device)
        self.settings: DetectorTrainingSettings = load_recipe(goal.recipe)["train"]

    def read_objects(self, detector: ImportedDetector, base: Path, log: Log) -> tuple[ImportedDetector, GroundTruth]:
        data = self.goal.data
        BoxReader(detector.boxes, detector.input_spec)  # an error before the images are read
        labels, truth = object_classes.read_objects(
            base / str(data.images), base / str(data.labels), self.settings.classes, log
        )
        return replace_classes(detector, labels, [[] for _ in labels]), truth

    def split_images(
        self,
        data: DataSettings,
        base: Path,
        named: LabeledImages,
        audit: AuditResult,
        truth: GroundTruth,
        labels: Sequence[str],
    ) -> Split:
        return object_classes.split_by_objects(named, audit, truth, labels, data.seed)

    def load_at(self, data: DetectionData, size: ImageSize) -> ImportedDetector:
        """The trained detector for another input: its weights do not depend on the size."""
        resized = super().load_at(data, size)
        taught = replace_classes(resized, data.detector.labels, [[] for _ in data.detector.labels])
        weights = {each.name: numpy_helper.to_array(each) for each in data.detector.model.graph.initializer}
        return taught._replace(model=copy_with_weights(taught.model, weights))

    def train(
        self, data: DetectionData, setup: SearchSetup | None, folder: Path, progress: Progress, log: Log
    ) -> DetectorSearchResult:
        """Fine-tune the detector on the new classes, then quantize it like an imported one."""
        if not data.trainings:
            data.trainings.append(self._fine_tune(data, progress, log))
        training = data.trainings[0]
        taught = msgspec.structs.replace(data, detector=training.best.detector)
        return msgspec.structs.replace(super().train(taught, setup, folder, progress, log), training=training)

    def _fine_tune(self, data: DetectionData, progress: Progress, log: Log) -> DetectorTraining:
        labels, old = data.detector.labels, data.original.labels
        validation = [*data.images.calibrate, *data.images.threshold]
        validate = partial(measure_float_map50, paths=validation, truth=data.truth)
        images = AnnotatedImages(data.images.fit, data.truth, validate)
        found = detect_in_float(data.original, progress(images.training, "own classes"))
        sources = class_mapping.map_classes(old, labels, data.truth_of(images.training), found)
        for label, channels in zip(labels, sources, strict=True):
            log(f"{label}: begins as {', '.join(old[each] for each in channels) or 'no class that the network knows'}")
        begun = replace_classes(data.original, labels, sources)
        return DetectorTraining(fine_tune_in_steps(begun, images, self.settings, progress, log), sources)

    def compute_metrics(
        self,
        predictions: dict[str, ImageDetections],
        data: DetectionData,
        training: DetectorSearchResult,
        thresholds: Thresholds[OperatingPoint],
    ) -> DetectionMetrics:
        assert training.training is not None
        metrics = super().compute_metrics(predictions, data, training, thresholds)
        labels, old, sources = data.detector.labels, data.original.labels, training.training.sources
        paths, truth = data.images.test, data.truth_of(data.images.test)
        found = detect_in_float(data.original, paths)
        mapped = class_mapping.relabel_detections(found, old, labels, sources, data.original.boxes.iou)
        map50 = coco_map.mean_average_precision(truth, mapped, labels).map50
        fitted = [each.label for objects in data.truth_of(data.images.fit) for each in objects]
        figures = TrainingFigures(
            begins_as={label: [old[each] for each in row] for label, row in zip(labels, sources, strict=True)},
            objects={label: fitted.count(row) for row, label in enumerate(labels)},
            untrained=Measurement(map50, coco_map.map50_interval(truth, mapped, labels)),
            steps=[TrainingStep(step.layers, step.epochs, step.map50) for step in training.training.steps],
            kept=training.training.best.layers,
        )
        return msgspec.structs.replace(metrics, training=figures)
