"""What kind of thing is it? A classifier that learns from images of every class, and answers `unknown` if unsure.

Quantization shifts the scores of all images in the same direction, on solar cells by a seventh of their spread, and
near the border of two classes that decides the answer. So the mean difference between the float and the int8 scores on
the calibration images is added to the bias of the head, before the final quantization (Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", 2019).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from vedette.devices import DeviceProfile, read_host_profile
from vedette.runtime.bundle.manifest import UNKNOWN
from vedette.runtime.evaluation.metrics import confusion_matrix, expected_calibration_error
from vedette.runtime.inference.heads.classify import softmax
from vedette.runtime.progress import Log, Progress

from ..data import split, stratified_split
from ..data.clip_images import ClipImages
from ..data.stratified_split import StratifiedSplit
from ..evaluation.built_models import FLOAT, INT8_ONNX, BuiltModels
from ..evaluation.classification_metrics import (
    ClassificationMetrics,
    accuracy_by_model,
    count_rejected,
    error_proportion,
    metrics_by_model,
)
from ..evaluation.confidence_and_reject_threshold import ConfidenceThreshold, choose_temperature_and_threshold
from ..evaluation.model_runners import ModelRunner, run_on_images
from ..goal.augmentation_settings import AugmentationSettings
from ..goal.goal_tables import Goal
from ..goal.recipe import QuantizationSettings, load_recipe
from ..graph.torch_export import export_to_onnx, feature_names, update_weights
from ..models import efficientnet_lite
from ..models.classifier_head import OUTPUTS, Classifier
from ..models.design import DEFAULT_INPUT
from ..quantization.quantize import convert, prepare
from ..report.classify_page import classification_context
from ..report.task_report_section import TaskReportSection
from ..search.search_setup import SearchSetup
from ..training.classifier_fine_tuning import fine_tune
from ..training.float_and_int8_model import FloatAndInt8Model
from .task import GOOD_PURPOSES, Thresholds, TrainingResult, count_images

BLOCKS = (5, 10, 15)  # backbone blocks whose features are pooled: fine, medium and coarse
ERROR_RATE = 0.05  # where the goal names none
MAX_GOLDEN_CLASSES = 8


class ClassificationData(msgspec.Struct, frozen=True):
    """Labelled images."""

    images: StratifiedSplit
    clips: ClipImages | None = None
    """Owns the folder with the images, if they were computed from clips."""


class ClassificationTask:
    """Task `classify`: a classifier of images over EfficientNet-Lite0."""

    description = "a classifier"
    purposes = GOOD_PURPOSES
    trains_for_device = False
    epochs = 4
    """Epochs of fine-tuning, where the goal names none."""

    def __init__(self, goal: Goal, _device: DeviceProfile) -> None:
        self.goal = goal
        self.size = goal.model.side or DEFAULT_INPUT
        self.spec = efficientnet_lite.backbone_input_spec(self.size)

    def split(self, base: Path, progress: Progress, log: Log) -> ClassificationData:
        return ClassificationData(stratified_split.audit_and_split(self.goal.data, base, progress, log))

    def train(
        self, data: ClassificationData, _budget: SearchSetup | None, folder: Path, progress: Progress, _log: Log
    ) -> TrainingResult:
        goal, size, images = self.goal, self.size, data.images
        classifier = Classifier(efficientnet_lite.load_backbone(BLOCKS), len(images.classes), size)
        epochs = self.epochs if goal.model.epochs is None else goal.model.epochs
        fine_tune(
            classifier, images, self.spec, goal.augment or AugmentationSettings(), epochs, goal.data.seed, progress
        )
        float_model = export_to_onnx(classifier, size, OUTPUTS)
        settings: QuantizationSettings = load_recipe(goal.recipe).get("quantise", QuantizationSettings())
        calibration = list(split.model_inputs(images.calibrate, self.spec))
        unlabelled = list(split.model_inputs(images.fit, self.spec)) if settings.qat_steps else []
        prepared = prepare(settings, float_model, calibration, self.spec, feature_names(classifier), unlabelled, folder)
        draft = BuiltModels(goal, float_model, convert(settings, prepared, calibration, self.spec)).runners
        fp32, int8 = (run_on_images(draft[model], images.calibrate, "scores") for model in (FLOAT, INT8_ONNX))
        shift = fp32 - int8
        classifier.add_to_scores(torch.from_numpy(shift.mean(axis=0)).float())
        shifted = msgspec.structs.replace(prepared, model=update_weights(classifier, prepared.model))
        int8_model = convert(settings, shifted, calibration, self.spec)
        reference = update_weights(classifier, prepared.float_reference)
        return TrainingResult(FloatAndInt8Model(float_model, int8_model, reference, prepared.steps))

    def choose_threshold(self, models: BuiltModels, data: ClassificationData) -> Thresholds[ConfidenceThreshold]:
        truth = self.class_labels(data.images, data.images.threshold)
        target = self.goal.goal.error_rate or ERROR_RATE
        fp32, int8 = (
            choose_temperature_and_threshold(self.score(models.runners[model], data.images.threshold), truth, target)
            for model in (FLOAT, INT8_ONNX)
        )
        return Thresholds(fp32, int8)

    def predict(
        self, runners: dict[str, ModelRunner], data: ClassificationData, progress: Progress
    ) -> dict[str, NDArray[Any]]:
        """Scores of the test images, n x K."""
        return {model: self.score(runner, progress(data.images.test, model)) for model, runner in runners.items()}

    def score(self, runner: ModelRunner, paths: Iterable[Path]) -> NDArray[Any]:
        """Scores of what the task counts, images here, n x K."""
        return run_on_images(runner, paths, "scores")

    def class_labels(self, images: StratifiedSplit, paths: list[Path]) -> NDArray[Any]:
        """Class of what the task counts, images here, n."""
        return np.array(images.class_indices(paths))

    def compute_metrics(
        self,
        predictions: dict[str, NDArray[Any]],
        data: ClassificationData,
        _training: TrainingResult,
        thresholds: Thresholds[ConfidenceThreshold],
    ) -> ClassificationMetrics:
        images, threshold = data.images, thresholds.int8
        truth, count = np.array(images.class_indices(images.test)), len(images.classes)
        results = metrics_by_model(predictions, truth, threshold)
        scores = predictions[INT8_ONNX]
        right = scores.argmax(axis=1) == truth
        confusion = confusion_matrix(truth, scores.argmax(axis=1), count)
        confidence = softmax(scores, threshold.temperature).max(axis=1)
        return ClassificationMetrics(
            metric="accuracy",
            by_model=accuracy_by_model(results),
            images=count_images(self.purposes, images),
            machine=read_host_profile().cpu,
            threshold=threshold,
            errors=error_proportion(results[INT8_ONNX]),
            classification=results,
            balanced_accuracy=float((confusion.diagonal() / confusion.sum(axis=1)).mean()),
            ece_uncalibrated=expected_calibration_error(softmax(scores, 1.0).max(axis=1), right),
            classes=images.classes,
            confusion=confusion.tolist(),
            unknown=count_rejected(truth, confidence, threshold.min_probability, count),
        )

    def manifest_fields(self, data: ClassificationData, thresholds: Thresholds[ConfidenceThreshold]) -> dict[str, Any]:
        return {
            "labels": (*data.images.classes, UNKNOWN),
            "normal": data.images.normal,
            "threshold": thresholds.int8.min_probability,
            "temperature": thresholds.int8.temperature,
        }

    def golden_inputs(self, data: ClassificationData) -> list[Path]:
        """One test image of each class, of the first classes if there are many."""
        first = {data.images.truth[path]: path for path in reversed(data.images.test)}
        return [first[label] for label in sorted(first)[:MAX_GOLDEN_CLASSES]]

    def report_context(
        self,
        predictions: dict[str, NDArray[Any]],
        data: ClassificationData,
        _training: TrainingResult,
        thresholds: Thresholds[ConfidenceThreshold],
    ) -> TaskReportSection:
        return classification_context(data.images, predictions, thresholds.int8, thresholds.fp32)
