"""PaDiM and a student: the distance from the distribution of good parts, plus the error of a prediction of features.

Both ask other questions of the same features. PaDiM knows how each location varies; the student
(feature_prediction.py) knows how deep features follow from shallow ones around them, wherever a part lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..efficientnet_lite import Backbone
from ..image_size import ImageSize, count_cells
from .feature_fusion import upsample_level
from .feature_prediction import FeaturePrediction
from .image_score import MapScore
from .padim import DEVIATION_LIMIT, Padim
from .standardization import CELL_PIXELS

PREDICTION_WEIGHT = 0.5  # of the error of prediction, beside PaDiM's distance; both are about 1 on good parts


class Student(nn.Module):
    """Features of two blocks or more -> anomaly map N x 1 x H/8 x W/8 and image score N."""

    bounded_outputs: ClassVar = {"score": 0.0}
    has_location_parameters = True

    def __init__(self, backbone: Backbone, size: ImageSize, rank: int | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.prediction = FeaturePrediction(backbone, size)
        self.padim = Padim(SimpleNamespace(channels=backbone.channels[1:], strides=backbone.strides[1:]), size, rank)
        self.reading = MapScore(count_cells(size, CELL_PIXELS), channels=2, limit=DEVIATION_LIMIT**2)
        self.reading.smooth.weight[0, 1] *= PREDICTION_WEIGHT

    def assume_largest_structure(self) -> None:
        """Takes the most clusters that a fit may choose, before any fit."""
        self.padim.assume_largest_structure()

    @torch.no_grad()
    def fit(self, good: Sequence[Tensor], defective: Sequence[Tensor], masks: Tensor) -> None:
        """Fits both to good images. It ignores the defective images."""
        self.padim.fit(good[1:], (), masks)
        self.prediction.fit(good)

    def forward(self, features: Sequence[Tensor], evidence: Tensor | None = None) -> tuple[Tensor, Tensor]:
        distance = upsample_level(self.padim.distance(features[1:]), self.reading.cells)
        anomaly_map, score = self.reading(torch.cat([distance, self.prediction(features)], dim=1), evidence)
        return anomaly_map, score
