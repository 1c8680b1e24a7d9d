"""What the steps of a detector's build hand on: images with objects, and the trained or quantized detector."""

from __future__ import annotations

from pathlib import Path

import msgspec

from vedette.runtime.evaluation.annotated_object import AnnotatedObject, GroundTruth

from ..data.split import Split
from ..graph.importers.detector_import import ImportedDetector
from ..search.input_size_trial import DetectorMemory, DistillationFigures, InputSizeResult
from ..training.detector_fine_tuning import DetectorTraining
from .task import TrainingResult


class DetectionData(msgspec.Struct, frozen=True):
    """The imported detector, and images with annotated objects."""

    images: Split
    detector: ImportedDetector
    """At its own input size."""
    truth: GroundTruth
    base: Path
    """Folder of the goal file."""
    original: ImportedDetector
    """With the classes that it was imported with."""
    memory: DetectorMemory = msgspec.field(default_factory=lambda: DetectorMemory({}, {}))
    """Of earlier builds with these images."""
    trainings: list[DetectorTraining] = []
    """On the classes of the labels, by an earlier build with these images."""

    def truth_of(self, paths: list[Path]) -> list[tuple[AnnotatedObject, ...]]:
        """Annotated objects of each image."""
        return [self.truth[path] for path in paths]


class DetectorSearchResult(TrainingResult, frozen=True):
    """The quantized detector and the record of the search for an input size."""

    detector: ImportedDetector
    """At the chosen input size."""
    chosen: InputSizeResult
    trials: list[InputSizeResult]
    original_cost: float
    """Cost of the float detector at its own size."""
    cost_unit: str
    compared_on: int
    """Number of images that input sizes were compared on."""
    distillation: DistillationFigures | None = None
    """To the chosen size; None: there was none."""
    training: DetectorTraining | None = None
    """On the classes of the labels; None: the detector keeps its own."""
