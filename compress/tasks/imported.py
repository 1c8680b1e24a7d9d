"""Imported networks: classifiers and embeddings, which are quantized here and not trained.

Images are used as for the built-in models: audited and split by groups; some set the int8 ranges, others choose the
threshold, and the rest measure. Beside accuracy, the report states how closely int8 reproduces float: the cosine
similarity of their outputs, image by image, and how often both have the same likeliest class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import onnx
from numpy.typing import NDArray

from vedette.devices import DeviceProfile, read_host_profile
from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.errors import locate_errors
from vedette.runtime.progress import Log, Progress

from ..data import labeled_images, split, stratified_split
from ..data.split import Split
from ..data.stratified_split import StratifiedSplit
from ..evaluation.built_models import FLOAT, INT8_ONNX, BuiltModels
from ..evaluation.fidelity import FidelityMetrics, compare_outputs, cosine_similarity
from ..evaluation.model_runners import ModelRunner, run_on_images
from ..evaluation.results import Measurement
from ..export import onnx2tf_fallback
from ..export.tflite.operands import UnsupportedOperator
from ..export.tflite.operators import check_operators
from ..goal.goal_tables import Goal
from ..graph.importers.network_import import load_imported_network
from ..quantization.quantize_imported import quantize_post_training
from ..report.imported_page import embedding_context
from ..report.task_report_section import TaskReportSection
from ..search.search_setup import SearchSetup
from ..training.float_and_int8_model import FloatAndInt8Model
from .task import GOOD_PURPOSES, Thresholds, TrainingResult, count_images

MAX_CALIBRATION_IMAGES = 200
GOLDEN_IMAGES = 8


class ImportedData(msgspec.Struct, frozen=True):
    """The imported network and its images."""

    images: Split | StratifiedSplit
    model: onnx.ModelProto
    input_spec: ModelInput
    labels: tuple[str, ...] = ()
    """Names of the scores of a classifier, in order."""


class ImportedNetworkTask:
    """What imported classifiers and embeddings have in common."""

    output: str
    """Name of the network's output."""
    description: str
    purposes = GOOD_PURPOSES
    trains_for_device = False

    def __init__(self, goal: Goal, _device: DeviceProfile) -> None:
        self.goal = goal

    def split(self, base: Path, progress: Progress, log: Log) -> ImportedData:
        model, input_spec = load_imported_network(base, self.goal.model, self.output)
        try:
            check_operators(model)  # before the images are read
        except UnsupportedOperator as problem:
            log(f"{problem.message}; {onnx2tf_fallback.find_onnx2tf(problem)} makes a float file")
        data = self.goal.data
        if data.classes is not None:
            return ImportedData(stratified_split.audit_and_split(data, base, progress, log), model, input_spec)
        with locate_errors("data.images, which are taken for good ones"):
            as_good = msgspec.structs.replace(data, good=str(data.images))
            named = labeled_images.find_images(as_good, base)
            audit, summary = labeled_images.audit_labeled_images(named, base, progress, log)
            images = split.split_images(as_good, base, named, audit)
        return ImportedData(msgspec.structs.replace(images, audit=summary), model, input_spec)

    def train(
        self, data: ImportedData, _budget: SearchSetup | None, _folder: Path, progress: Progress, _log: Log
    ) -> TrainingResult:
        """Quantize the network; the images of `calibrate` and of `fit` set the int8 ranges."""
        selected = [*data.images.calibrate, *data.images.fit][:MAX_CALIBRATION_IMAGES]
        images = split.model_inputs(progress(selected, "ranges"), data.input_spec)
        return TrainingResult(
            FloatAndInt8Model(data.model, quantize_post_training(data.model, images, data.input_spec), data.model)
        )

    def predict(
        self, runners: dict[str, ModelRunner], data: ImportedData, progress: Progress
    ) -> dict[str, NDArray[Any]]:
        """Outputs for the test images, n x K."""
        test = data.images.test
        return {model: run_on_images(runner, progress(test, model), self.output) for model, runner in runners.items()}

    def golden_inputs(self, data: ImportedData) -> list[Path]:
        return data.images.test[:GOLDEN_IMAGES]


class ImportedEmbedding(ImportedNetworkTask):
    """Task `embed`: a vector for each image. It has no threshold."""

    output, description = "vector", "an imported embedding network"

    def choose_threshold(self, _models: BuiltModels, _data: ImportedData) -> Thresholds[None]:
        return Thresholds(None, None)

    def compute_metrics(
        self,
        predictions: dict[str, NDArray[Any]],
        data: ImportedData,
        _training: TrainingResult,
        _thresholds: Thresholds[None],
    ) -> FidelityMetrics:
        by_model = {
            model: _mean_with_interval(cosine_similarity(predictions[FLOAT], vectors))
            for model, vectors in predictions.items()
        }
        by_model[FLOAT] = msgspec.structs.replace(by_model[FLOAT], value=1.0)
        return FidelityMetrics(
            metric="cosine",
            by_model=by_model,
            images=count_images(self.purposes, data.images),
            machine=read_host_profile().cpu,
            cosine=compare_outputs(predictions),
            output_width=predictions[FLOAT].shape[1],
        )

    def manifest_fields(self, _data: ImportedData, _thresholds: Thresholds[None]) -> dict[str, Any]:
        return {"labels": (), "threshold": 0.0}

    def report_context(
        self,
        predictions: dict[str, NDArray[Any]],
        data: ImportedData,
        _training: TrainingResult,
        _thresholds: Thresholds[None],
    ) -> TaskReportSection:
        return embedding_context(data.images.test, predictions[FLOAT], predictions[INT8_ONNX])


def _mean_with_interval(values: NDArray[Any]) -> Measurement:
    """Mean cosine similarity, with the 95 % interval of a normal distribution, at most 1."""
    mean = float(values.mean())
    spread = 1.96 * float(values.std()) / len(values) ** 0.5
    return Measurement(mean, (mean - spread, min(mean + spread, 1.0)))
