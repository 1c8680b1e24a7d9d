"""PaDiM, written as a graph that an integer back end can run.

Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization" (2020): at every
place of a feature map, learn how good parts vary; the anomaly is the Mahalanobis distance from that. The original keeps
a covariance matrix per place: 7.8 MB at 28 x 28 and 100 channels, and far more numbers than a few hundred images can
tell. Here a place has its own mean and variances, and the correlations, between the channels of all levels, are one
matrix that all places share. On five sets, three divisions each, it came out as well: AUROC, float, with matrices per
place (of 100 of 152 channels) and with one, on solar cells .935 and .936, .855 and .864, on ball screws .897 and .925,
on toy figures .988 and .985, on cookies .994 and .969.

    join      levels to one vector per cell, by mean and spread of the place, projected on the directions in which
              good parts vary, in units of how much they do
    distance  clip, square, mean over the directions

With a rank, only so many directions count: those in which good parts vary least, where a deviation says most (Rippel et
al., "Modeling the Distribution of Normal Data in Pre-Trained Deep Features for Anomaly Detection", 2021). Of 152
directions 64 gave, on the same sets, .935 (all: .936), .877 (.878), .919 (.935) and .984 (.984) for less than half of
the multiplications behind the backbone; the 64 that vary most gave .926, .849, .941 and .971.

A deviation counts up to LIMIT standard deviations per direction, so that one outlier can neither decide alone nor eat
the integer range. The correlations are shrunk towards none by the share SHRINK (Ledoit and Wolf, "A well-conditioned
estimator for large-dimensional covariance matrices", 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..efficientnet_lite import Backbone
from .feature_pyramid import Joined
from .image_score import Reading
from .standardization import GRID, ByPlace

LIMIT = 4.0
SHRINK = 0.1


class Padim(nn.Module):
    """Features -> anomaly map N x 1 x H/8 x W/8 and score N, both in squared standard deviations."""

    bounded_outputs: ClassVar = {"score": 0.0}
    by_place = True

    def __init__(self, backbone: Backbone, size: int, rank: int | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.join = Joined(backbone, size, ByPlace, min(rank or sum(backbone.channels), sum(backbone.channels)))
        self.mean = nn.Conv2d(self.join.width, 1, 1, bias=False).requires_grad_(False)
        nn.init.constant_(self.mean.weight, 1 / self.join.width)
        self.reading = Reading(size // GRID)

    @torch.no_grad()
    def fit(self, good: Sequence[Tensor], spoilt: Sequence[Tensor], masks: Tensor) -> None:
        """Learns how good parts vary; the spoilt ones it does not need."""
        self.join.learn(good)
        channels = sum(self.backbone.channels)
        products, count = torch.zeros(channels, channels, dtype=torch.float64), 0
        for vectors in self.join.vectors(good):
            products += vectors.T @ vectors
            count += len(vectors)
        correlation = products / count
        independent = torch.eye(len(correlation), dtype=torch.float64) * correlation.diagonal().mean()
        variances, directions = torch.linalg.eigh((1 - SHRINK) * correlation + SHRINK * independent)  # smallest first
        weight = (directions / variances.sqrt()).T[: self.join.width].float()
        self.join.adopt(weight, torch.zeros(self.join.width))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        deviation = self.join(features).clamp(-LIMIT, LIMIT)
        anomaly_map, score = self.reading(self.mean(deviation * deviation))
        return anomaly_map, score
