"""What a build needs of a task: one method for each step that tasks do differently.

A task holds the goal and the device, and nothing else: what a step finds out, it returns, and later steps take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from vedette.runtime.progress import Log, Progress

from ..data.split import SPLIT_FRACTIONS, Split
from ..data.stratified_split import StratifiedSplit
from ..evaluation.built_models import BuiltModels
from ..evaluation.model_runners import ModelRunner
from ..evaluation.p_values import HeldOutScores
from ..evaluation.results import TaskMetrics
from ..report.task_report_section import TaskReportSection
from ..search.search_setup import SearchSetup
from ..training.float_and_int8_model import FloatAndInt8Model

GOOD_PURPOSES = tuple(SPLIT_FRACTIONS)
ALL_PURPOSES = (*GOOD_PURPOSES, "defect")


class TaskData(Protocol):
    """The images of a build, and what else the task reads with them."""

    @property
    def images(self) -> Split | StratifiedSplit: ...


class TrainingResult(msgspec.Struct, frozen=True):
    """Result of the training; a task adds the record of its search."""

    model: FloatAndInt8Model


_Threshold = TypeVar("_Threshold")


class Thresholds(msgspec.Struct, Generic[_Threshold], frozen=True):
    """Decision thresholds, chosen in the same way for the float model and for the int8 models."""

    fp32: _Threshold
    int8: _Threshold
    held_out: HeldOutScores | None = None
    """Scores of an int8 anomaly model for the images that its threshold was chosen on."""


_Data = TypeVar("_Data", bound=TaskData)
_Training = TypeVar("_Training", bound=TrainingResult)
_Predictions = TypeVar("_Predictions")


class Task(Protocol[_Data, _Training, _Threshold, _Predictions]):
    """The steps of compress/build.py that depend on the task, in order."""

    description: str
    """What is trained, for the log."""
    purposes: tuple[str, ...]
    """The lists of `data.images` that the task uses. Training sees neither `threshold`, `test` nor `defect`."""
    trains_for_device: bool
    """Whether `train` chooses by what a model costs on the device: if not, all devices get the same model."""

    def split(self, base: Path, progress: Progress, log: Log) -> _Data:
        """Read and audit the images that the goal file in the folder `base` names, and split them by purpose.

        Raises:
            ConfigProblem: the images are not usable.
        """

    def train(self, data: _Data, setup: SearchSetup | None, folder: Path, progress: Progress, log: Log) -> _Training:
        """Train and quantize the model; with a search, of the best design that a search finds.

        Long training keeps its state in `folder` and resumes from it.
        """

    def choose_threshold(self, models: BuiltModels, data: _Data) -> Thresholds[_Threshold]:
        """Choose the decision threshold on the images of `threshold`."""

    def predict(self, runners: dict[str, ModelRunner], data: _Data, progress: Progress) -> dict[str, _Predictions]:
        """Predictions of each model for the test images, by model."""

    def compute_metrics(
        self,
        predictions: dict[str, _Predictions],
        data: _Data,
        training: _Training,
        thresholds: Thresholds[_Threshold],
    ) -> TaskMetrics:
        """Figures of the predictions."""

    def manifest_fields(self, data: _Data, thresholds: Thresholds[_Threshold]) -> dict[str, Any]:
        """Fields of the manifest: labels, the threshold, and what the runtime needs for the task."""

    def golden_inputs(self, data: _Data) -> list[Path]:
        """A few test images of every kind, for the golden outputs."""

    def report_context(
        self,
        predictions: dict[str, _Predictions],
        data: _Data,
        training: _Training,
        thresholds: Thresholds[_Threshold],
    ) -> TaskReportSection:
        """The task's part of the report."""


@runtime_checkable
class SearchableTask(Protocol):
    """A task whose search for a design several processes can share."""

    def search(self, data: Any, setup: SearchSetup, progress: Progress, log: Log) -> Any:
        """Search for designs until its time is spent."""


def images_by_purpose(purposes: Sequence[str], images: Split | StratifiedSplit) -> dict[str, list[Path]]:
    """Paths of the images by purpose."""
    return {purpose: getattr(images, purpose) for purpose in purposes}


def count_images(purposes: Sequence[str], images: Split | StratifiedSplit) -> dict[str, int]:
    """Number of images by purpose."""
    return {purpose: len(paths) for purpose, paths in images_by_purpose(purposes, images).items()}
