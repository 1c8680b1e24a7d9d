"""PaDiM, written as a graph that an integer back end can run.

Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization" (2020): at every
position of a feature map, learn how good parts vary; the anomaly is the Mahalanobis distance from that. The original
keeps a covariance matrix per position: 7.8 MB at 28 x 28 and 100 channels, and far more numbers than a few hundred
images can tell. Here a position has its own mean and variances, and the correlations between channels are one matrix
per level, shared by all positions: a 1 x 1 convolution.

Each tapped level is measured at its own resolution, and the distances are added, so that the feature maps are never
joined and the deep, wide level stays small.

    centre    + constant per channel and position     first, so that int8 need only span what varies
    pool      depthwise 3 x 3 mean, in units of the channel's standard deviation; per-channel weights keep it exact
    scale     x constant per channel and position
    whiten    1 x 1 convolution that takes the correlations out
    distance  clip, square, mean over channels; then enlarged to the cells of the map

A deviation counts up to LIMIT standard deviations per channel, so that one channel's outlier can neither decide alone
nor eat the integer range. What few images cannot tell is shrunk: a position's variance towards its channel's, by the
weight of PRIOR images, and the correlations towards none, by the share SHRINK (Ledoit and Wolf, "A well-conditioned
estimator for large-dimensional covariance matrices", 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..backbone import Backbone
from .joined import GRID, Pool, enlarged
from .reading import Reading

LIMIT = 5.0
PRIOR = 40.0
SHRINK = 0.3
FLOOR = 1e-3


class Level(nn.Module):
    """Distance from normal at one tapped level: N x C x H x W -> N x 1 x h x w."""

    centre: Tensor
    gain: Tensor

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = Pool(channels, stride)
        self.whiten = nn.Conv2d(channels, channels, 1, bias=False)
        self.mean = nn.Conv2d(channels, 1, 1, bias=False)
        nn.init.constant_(self.mean.weight, 1 / channels)
        self.register_buffer("centre", torch.zeros(1))
        self.register_buffer("gain", torch.ones(1))
        self.images = 0
        self.features = self.total = self.products = torch.zeros(())

    def observe(self, features: Tensor) -> None:
        """Takes in N x C x H x W features of good parts."""
        pooled = self.pool(features).double()
        self.images += len(features)
        self.features = self.features + features.double().sum(dim=0)
        self.total = self.total + pooled.sum(dim=0)
        self.products = self.products + torch.einsum("nchw,ndhw->cdhw", pooled, pooled)

    def settle(self) -> None:
        """Turns what was observed into the constants of the graph."""
        mean = self.total / self.images
        covariance = self.products / self.images - torch.einsum("chw,dhw->cdhw", mean, mean)
        variance = torch.einsum("cchw->chw", covariance).clamp(min=0)
        shared = variance.mean(dim=(1, 2), keepdim=True).clamp(min=FLOOR**2)
        variance = (self.images * variance + PRIOR * shared) / (self.images + PRIOR)
        spread = variance.sqrt()
        correlation = (covariance / torch.einsum("chw,dhw->cdhw", spread, spread)).mean(dim=(2, 3))
        independent = torch.eye(len(correlation), dtype=torch.float64) * correlation.diagonal().mean()
        values, vectors = torch.linalg.eigh((1 - SHRINK) * correlation + SHRINK * independent)
        self.whiten.weight.copy_((vectors / values.clamp(min=FLOOR).sqrt() @ vectors.T)[..., None, None])
        self.pool.scale(shared.sqrt()[:, 0, 0])
        self.register_buffer("centre", -(self.features / self.images).float()[None])
        self.register_buffer("gain", (shared.sqrt() / spread).float()[None])

    def forward(self, features: Tensor) -> Tensor:
        scaled = self.pool(features + self.centre) * self.gain
        deviation = self.whiten(scaled).clamp(-LIMIT, LIMIT)
        distance: Tensor = self.mean(deviation * deviation)
        return distance


class Padim(nn.Module):
    """Features -> anomaly map N x 1 x H/8 x W/8 and score N, both in squared standard deviations."""

    bounded_outputs: ClassVar = {"score": 0.0}

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.cells = size // GRID
        self.levels = nn.ModuleList(self._new_levels())
        self.reading = Reading(self.cells, channels=len(self.levels))

    @torch.no_grad()
    def fit(self, good: Sequence[Sequence[Tensor]], spoilt: Sequence[Sequence[Tensor]], masks: Tensor) -> None:
        """Learns how good parts vary; the spoilt ones it does not need."""
        levels = self._new_levels()
        for batch in good:
            for level, each in zip(levels, batch, strict=True):
                level.observe(each)
        for level in levels:
            level.settle()
        self.levels = nn.ModuleList(levels)

    def _new_levels(self) -> list[Level]:
        sizes = zip(self.backbone.channels, self.backbone.strides, strict=True)
        return [Level(channels, max(GRID // stride, 1)) for channels, stride in sizes]

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        distances = [enlarged(level(each), self.cells) for level, each in zip(self.levels, features, strict=True)]
        anomaly_map, score = self.reading(torch.cat(distances, dim=1))
        return anomaly_map, score
