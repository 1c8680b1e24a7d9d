"""What a search for the input size of an object detector compares, and what it chooses."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from vedette.runtime.evaluation.annotated_object import GroundTruth

from ..goal.goal_tables import Targets
from ..goal.recipe import QuantizationSettings
from ..graph.importers.detector_import import ImportedDetector
from ..models.image_size import ImageSize
from ..quantization.quantize_imported import QuantizedGraph

MAP50_MARGIN = 0.01


class InputSizeResult(msgspec.Struct, frozen=True):
    """Measured figures of one input size, for the report and the manifest."""

    input: ImageSize
    """In pixels."""
    cost: float = msgspec.field(name="effort")
    """Cost of one image with the int8 model, in the back end that needs less; see `InstructionEstimator.unit`."""
    map50_fp32: float
    map50_int8: float
    distilled: bool = False
    """Whether the float detector at its own size has taught this one."""

    @property
    def map50_drop(self) -> float:
        """mAP50 of the float model minus that of the int8 model."""
        return self.map50_fp32 - self.map50_int8


class DistillationFigures(msgspec.Struct, frozen=True):
    """What distillation to a smaller input was worth."""

    input: ImageSize
    """In pixels."""
    images: int
    """That the detector learned from, without labels."""
    steps: int
    """After which the best weights were reached; 0: no weights were better."""
    loss_before: float
    """Against the detector at its own size, on held-out images."""
    loss: float
    map50_before: float
    """Of the float detector, on the held-out images."""
    map50: float
    kept: bool
    """Whether the taught weights are used: both figures improved."""


class InputSizeTrial(NamedTuple):
    """The detector at one input size: its figures, its float graph and its quantized graph."""

    result: InputSizeResult
    detector: ImportedDetector
    quantized: QuantizedGraph


class MeasuredSize(NamedTuple):
    """The detector quantized at one input size."""

    quantized: QuantizedGraph
    map50_fp32: float
    map50_int8: float


class Distillation(NamedTuple):
    """A detector that learned from the one at its own size."""

    detector: ImportedDetector
    """The untaught one if the held-out images do not show a gain."""
    figures: DistillationFigures | None
    """None: it could not be trained."""


class DetectorMemory(NamedTuple):
    """What does not depend on the device."""

    measured: dict[tuple[ImageSize, bool, QuantizationSettings], MeasuredSize]
    """By input size, whether it was distilled, and settings."""
    distilled: dict[ImageSize, Distillation]


class CalibrationAndValidationImages(NamedTuple):
    """Images of the search, disjoint from the test split."""

    calibration: list[Path]
    """Images for activation ranges and for training."""
    annotated: GroundTruth
    """Images that measure mAP50, with their objects."""
    lessons: list[Path]
    """Images from which a detector with a smaller input learns, without labels."""
    held_out: list[Path]
    """Others, of `annotated`, which decide what it keeps."""
    memory: DetectorMemory
    """What was measured and trained with them before."""


def choose_input_size(trials: list[InputSizeTrial], wish: Targets, max_cost: float | None) -> InputSizeTrial:
    """The trial to take; if none is within the cost limit, the cheapest.

    Args:
        trials: all trials, the one at the detector's own size first
        wish: the `[goal]` table
        max_cost: the cost limit; None for no limit
    """
    if max_cost is not None:
        affordable = [trial for trial in trials if trial.result.cost <= max_cost]
        if not affordable:
            return min(trials, key=lambda trial: trial.result.cost)
        required = max(trial.result.map50_fp32 for trial in affordable) - MAP50_MARGIN
        accurate = (trial for trial in affordable if trial.result.map50_fp32 >= required)
        return max(accurate, key=lambda trial: trial.result.cost)
    if wish.max_drop is None:
        return trials[0]
    required = trials[0].result.map50_fp32 - wish.max_drop / 2
    return min((trial for trial in trials if trial.result.map50_fp32 >= required), key=lambda trial: trial.result.cost)
