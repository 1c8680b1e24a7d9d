"""What the steps of the task `anomaly` hand on: images, the trained model and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from numpy.typing import NDArray

from vedette.runtime.inference.area_thresholds import AreaThresholds
from vedette.runtime.inference.inspector import Inspector

from ..data.image_feature_cache import ImageFeatureCache
from ..data.motion_selection import AlignmentEvidence
from ..data.split import Split
from ..evaluation.conformal_threshold import AnomalyThreshold
from ..evaluation.score_log_threshold import ScoreLog
from ..models.design import Design
from ..models.image_size import ImageSize
from ..search.finalists import Finalist
from ..search.selection import Trial
from ..training.float_and_int8_model import FloatAndInt8Model
from .task import Thresholds, TrainingResult


class FittedDesigns:
    """Features of the images and models fitted to them: no device changes them, so those of one build share them."""

    def __init__(self) -> None:
        self.features: ImageFeatureCache | None = None
        """None: not yet computed."""
        self.models: dict[Design, FloatAndInt8Model] = {}
        """Built without a search; a search keeps its finalists in its folder."""


class AnomalyData(msgspec.Struct, frozen=True):
    """Images and masks of an anomaly model."""

    images: Split
    masks: dict[int, NDArray[Any]]
    """Index of a defective image -> its mask, height x width, bool."""
    size: ImageSize
    """The largest input of any design."""
    ratio: float = 1.0
    """Aspect ratio of what the model sees, if the goal asks for it."""
    inspector: Inspector | None = None
    """Cuts what the model sees out of an image; None: the model sees the whole image."""
    alignment: AlignmentEvidence | None = None
    """How sure the alignment is; None: images are not aligned."""
    score_log: ScoreLog | None = None
    """Scores of the box, which set the threshold; None: the images do."""
    designs: FittedDesigns = msgspec.field(default_factory=FittedDesigns)


class AnomalyTrainingResult(TrainingResult, frozen=True):
    """The trained model and the record of the search."""

    trials: list[Trial]
    finalists: list[Trial]
    """Designs that were built; empty without a search."""
    chosen: Trial
    yardsticks: Mapping[str, Finalist] = {}
    """Finalists that a search is held against, by their key in `measured`; empty without a search."""


class AnomalyThresholds(Thresholds[AnomalyThreshold], frozen=True):
    """The thresholds, and the scores of the known defects."""

    known_scores: tuple[float, ...] = ()
    """By the int8 model, which was fitted to them."""
    areas: AreaThresholds | None = None
    """Of `[[inspect.areas]]`; None: the goal names none."""
