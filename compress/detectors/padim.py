"""PaDiM with a diagonal covariance, written as a graph that an integer back end can run.

Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization" (2020): at every
position of a feature map, learn how good parts vary; the anomaly is the Mahalanobis distance from that. The full
covariance needs a matrix per position (7.8 MB at 28 x 28 and 100 channels); the diagonal needs two numbers per channel and
position, and on solar cells its AUROC is within 0.01.

Here each tapped level is measured at its own resolution, and the distances are added: with a diagonal covariance the
distance is a sum over channels, so nothing is lost by never joining the feature maps, and the deep, wide level stays small.

    pool     depthwise 3 x 3 mean, standardised per channel    the neighbourhood; per-channel scales survive int8
    centre   + offset, per channel and position
    scale    x gain, per channel and position
    distance square, mean over channels

A deviation counts up to LIMIT standard deviations per channel, so that one channel's outlier can neither decide alone nor
eat the integer range. With few images a position's variance is uncertain, so it is shrunk towards its channel's by the
weight of PRIOR images.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backbone import Backbone

LIMIT = 5.0
PRIOR = 10.0
FLOOR = 1e-3
GRID = 8  # pixels of the input per cell of the anomaly map


class Level(nn.Module):
    """Distance from normal at one tapped level: N x C x H x W -> N x 1 x h x w."""

    offset: Tensor
    gain: Tensor

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        before = 1 if stride == 1 else 0  # TensorFlow's SAME padding, as in the backbone
        self.pad = nn.ZeroPad2d((before, 1, before, 1))
        self.pool = nn.Conv2d(channels, channels, 3, stride, groups=channels)
        self.mean = nn.Conv2d(channels, 1, 1, bias=False)
        nn.init.constant_(self.pool.weight, 1 / 9)
        nn.init.zeros_(self._bias)
        nn.init.constant_(self.mean.weight, 1 / channels)
        self.images = 0
        self.total = self.squares = torch.zeros(())

    @property
    def _bias(self) -> Tensor:
        assert self.pool.bias is not None
        return self.pool.bias

    def observe(self, features: Tensor) -> None:
        """Takes in N x C x H x W features of good parts."""
        pooled = self.pool(self.pad(features)).double()
        self.images += len(pooled)
        self.total = self.total + pooled.sum(dim=0)
        self.squares = self.squares + pooled.square().sum(dim=0)

    def settle(self) -> None:
        """Turns what was observed into the constants of the graph."""
        mean, square = self.total / self.images, self.squares / self.images
        centre = mean.mean(dim=(1, 2), keepdim=True)
        spread = (square.mean(dim=(1, 2), keepdim=True) - centre.square()).clamp(min=0).sqrt().clamp(min=FLOOR)
        variance = (square - mean.square()).clamp(min=0) / spread.square()
        shared = variance.mean(dim=(1, 2), keepdim=True)
        variance = (self.images * variance + PRIOR * shared) / (self.images + PRIOR)
        self.pool.weight /= spread.float()[..., None]
        self._bias.copy_((-centre / spread).flatten())
        self.register_buffer("offset", ((centre - mean) / spread).float()[None])
        self.register_buffer("gain", (1 / variance.sqrt().clamp(min=FLOOR)).float()[None])

    def forward(self, features: Tensor) -> Tensor:
        deviation = ((self.pool(self.pad(features)) + self.offset) * self.gain).clamp(-LIMIT, LIMIT)
        distance: Tensor = self.mean(deviation * deviation)
        return distance


class Padim(nn.Module):
    """N x 3 x H x W, normalised -> anomaly map N x 1 x H/8 x W/8 and score N, in squared standard deviations."""

    bounded_outputs = ("score",)

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.levels = nn.ModuleList()
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True):
            self.levels.append(Level(channels, max(GRID // stride, 1)))
        self.smooth = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        nn.init.constant_(self.smooth.weight, 1 / 9)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Learns from batches of N x 3 x H x W, normalised, of good parts."""
        for batch in batches:
            for level, features in zip(self.levels, self.backbone(batch), strict=True):
                level.observe(features)
        for level in self.levels:
            level.settle()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        cells = x.shape[-1] // GRID
        total = None
        for level, features in zip(self.levels, self.backbone(x), strict=True):
            distance = level(features)
            if distance.shape[-1] < cells:
                distance = functional.interpolate(distance, scale_factor=float(cells // distance.shape[-1]))
            total = distance if total is None else total + distance
        anomaly_map: Tensor = self.smooth(total)
        return anomaly_map, anomaly_map.amax(dim=(1, 2, 3))
