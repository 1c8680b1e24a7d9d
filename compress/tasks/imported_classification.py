"""Imported classifiers: a score for each class, and a confidence threshold if the images are labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import read_host_profile
from vedette.runtime.bundle.manifest import UNKNOWN
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.progress import Log, Progress

from ..data.split import Split
from ..data.stratified_split import StratifiedSplit
from ..evaluation.built_models import FLOAT, INT8_ONNX, BuiltModels
from ..evaluation.classification_metrics import accuracy_by_model, error_proportion, metrics_by_model
from ..evaluation.confidence_and_reject_threshold import ConfidenceThreshold, choose_temperature_and_threshold
from ..evaluation.fidelity import FidelityMetrics, compare_outputs
from ..evaluation.model_runners import run_on_images
from ..evaluation.results import Measurement
from ..graph.importers.network_import import count_outputs
from ..report.classify_page import compare_answers
from ..report.task_report_section import TaskReportSection
from .classify import ERROR_RATE
from .imported import ImportedData, ImportedNetworkTask
from .task import Thresholds, TrainingResult, count_images


class ImportedClassification(ImportedNetworkTask):
    """Task `classify` with an imported network; without labelled images it has no threshold."""

    output, description = "scores", "an imported classifier"

    def split(self, base: Path, progress: Progress, log: Log) -> ImportedData:
        data = super().split(base, progress, log)
        return msgspec.structs.replace(data, labels=self._read_labels(base, data.images, count_outputs(data.model)))

    def choose_threshold(self, models: BuiltModels, data: ImportedData) -> Thresholds[ConfidenceThreshold | None]:
        if not isinstance(data.images, StratifiedSplit):
            return Thresholds(None, None)
        paths, target = data.images.threshold, self.goal.goal.error_rate or ERROR_RATE
        truth = _score_indices(data.images, data.labels, paths)
        fp32, int8 = (
            choose_temperature_and_threshold(run_on_images(models.runners[model], paths, self.output), truth, target)
            for model in (FLOAT, INT8_ONNX)
        )
        return Thresholds(fp32, int8)

    def compute_metrics(
        self,
        predictions: dict[str, NDArray[Any]],
        data: ImportedData,
        _training: TrainingResult,
        thresholds: Thresholds[ConfidenceThreshold | None],
    ) -> FidelityMetrics:
        images, threshold = data.images, thresholds.int8
        likeliest = {model: scores.argmax(axis=1) for model, scores in predictions.items()}
        metrics = FidelityMetrics(
            metric="accuracy",
            by_model={model: Measurement(None) for model in predictions},
            images=count_images(self.purposes, images),
            machine=read_host_profile().cpu,
            cosine=compare_outputs(predictions),
            agreement={
                model: float((likeliest[model] == likeliest[FLOAT]).mean()) for model in predictions if model != FLOAT
            },
        )
        if threshold is None or not isinstance(images, StratifiedSplit):
            return metrics
        results = metrics_by_model(predictions, _score_indices(images, data.labels, images.test), threshold)
        return msgspec.structs.replace(
            metrics,
            by_model=accuracy_by_model(results),
            threshold=threshold,
            errors=error_proportion(results[INT8_ONNX]),
            classification=results,
        )

    def manifest_fields(self, data: ImportedData, thresholds: Thresholds[ConfidenceThreshold | None]) -> dict[str, Any]:
        images, threshold = data.images, thresholds.int8
        return {
            "labels": (*data.labels, UNKNOWN),
            "normal": images.normal if isinstance(images, StratifiedSplit) else self.goal.data.normal or (),
            "threshold": threshold.min_probability if threshold else 0.0,
            "temperature": threshold.temperature if threshold else 1.0,
        }

    def report_context(
        self,
        predictions: dict[str, NDArray[Any]],
        data: ImportedData,
        _training: TrainingResult,
        thresholds: Thresholds[ConfidenceThreshold | None],
    ) -> TaskReportSection:
        fp32, int8 = thresholds.fp32, thresholds.int8
        return TaskReportSection(
            template="imported.html",
            disagreement=compare_answers(
                data.images.test,
                data.labels,
                (predictions[FLOAT], predictions[INT8_ONNX]),
                None if fp32 is None or int8 is None else (fp32, int8),
            ),
            variables={"samples": []},
        )

    def _read_labels(self, base: Path, images: Split | StratifiedSplit, count: int) -> tuple[str, ...]:
        """The names of the scores, in order.

        Raises:
            ConfigProblem: the names do not fit the network or the folders of images.
        """
        folders = images.classes if isinstance(images, StratifiedSplit) else ()
        name = self.goal.model.labels
        if name is None:
            labels = folders or tuple(f"class {number}" for number in range(count))
        else:
            lines = (base / name).read_text(encoding="utf-8-sig", errors="replace").splitlines()
            labels = tuple(line.strip() for line in lines if line.strip())
        where = f"model.labels: {base / name}" if name else f"data.classes: {self.goal.data.classes}"
        hint = "one name for each score, in the order of the scores; a file of them, one a line, is model.labels"
        if len(labels) != count or len(set(labels)) < count:
            raise ConfigProblem(f"{where}: {len(set(labels))} names for {count} scores", hint=hint)
        if UNKNOWN in labels:
            raise ConfigProblem(f"{where}: no class may be called {UNKNOWN!r}", hint="rename it")
        if missing := set(folders) - set(labels):
            raise ConfigProblem(f"{where}: no name for the folder {min(missing)!r}", hint=hint)
        return labels


def _score_indices(images: StratifiedSplit, labels: tuple[str, ...], paths: list[Path]) -> NDArray[Any]:
    """For each image the index of its class among the scores."""
    index = [labels.index(name) for name in images.classes]
    return np.array([index[number] for number in images.class_indices(paths)])
