"""Discriminative anomaly model: a small network on frozen features that classifies each cell as good or defective.

It is similar to SimpleNet (Liu et al., 2023), SuperSimpleNet (Rolih et al., 2024) and GLASS (Chen et al., 2024). It is
trained on synthetic defects in images (compress/data/synthetic_defects.py) and on noise in the features of good images.
It is cheap and learns the weights of features, while a distance has fixed weights. But it detects only defects that
resemble the synthetic defects.

    join       joins the levels to one vector per cell, clipped to 0…6
    mix        1 x 1 convolution, clipped to 0…6
    judge      1 x 1 convolution: log odds, clipped to +-LOGIT_LIMIT

It classifies each cell independently. So the training uses single cells of the concatenated features, with equal
numbers of good and defective cells. The first layer is then divided by level.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..efficientnet_lite import Backbone
from ..image_size import ImageSize, count_cells
from .feature_fusion import FeatureFusion
from .image_score import MapScore
from .standardization import CELL_PIXELS, ChannelStandardizationLayer

HIDDEN_CHANNELS = 64
LOGIT_LIMIT = 16.0
TRAINING_STEPS = 400
CELLS_PER_CLASS = 1024  # cells of each class per step
MAX_GOOD_CELLS = 400_000  # of good images, at most; the training draws about as many, and 500 images have as many
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
FEATURE_NOISE = 0.3  # standard deviation of the noise on every feature, for robustness
ANOMALY_NOISE = 1.5  # standard deviation of the noise that makes a good cell anomalous
ANOMALY_CELLS = 256  # good cells made anomalous per step
MIN_DEFECT_FRACTION = 0.25  # covered fraction that makes a cell defective; cells with less coverage are not used


class DiscriminativeHead(nn.Module):
    """Features -> anomaly map N x 1 x H/8 x W/8, in log odds, and image score N."""

    bounded_outputs: ClassVar = {"score": float("-inf")}

    def __init__(self, backbone: Backbone, size: ImageSize) -> None:
        super().__init__()
        self.backbone = backbone
        self.join = FeatureFusion(backbone, size, ChannelStandardizationLayer, HIDDEN_CHANNELS)
        self.mix = nn.Conv2d(HIDDEN_CHANNELS, HIDDEN_CHANNELS, 1)
        self.judge = nn.Conv2d(HIDDEN_CHANNELS, 1, 1)
        self.reading = MapScore(count_cells(size, CELL_PIXELS), limit=LOGIT_LIMIT)

    def assume_largest_structure(self) -> None:
        """Does nothing: all fits have one structure."""

    def fit(self, good: Sequence[Tensor], defective: Sequence[Tensor], masks: Tensor) -> None:
        """Trains the network. `masks`, N x H/8 x W/8, holds the fraction of each cell that a defect covers."""
        self.join.fit(good)
        covered = masks.flatten()
        defective_cells = torch.cat(list(self.join.iterate_cell_vectors(defective)))
        count = len(good[0]) * prod(self.join.cells)
        rows = torch.arange(count)
        if count > MAX_GOOD_CELLS:
            rows = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:MAX_GOOD_CELLS]
        good_cells = torch.cat([self.join.gather_cell_vectors(good, rows), defective_cells[covered == 0]])
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(0)
            first = nn.Conv2d(good_cells.shape[1], HIDDEN_CHANNELS, 1)
            self.mix.reset_parameters()
            self.judge.reset_parameters()
            self.requires_grad_(True)
            self._train(first, good_cells, defective_cells[covered > MIN_DEFECT_FRACTION])
        self.requires_grad_(False)
        with torch.no_grad():
            assert first.bias is not None
            self.join.set_projection(first.weight[..., 0, 0], first.bias)

    def _train(self, first: nn.Conv2d, good: Tensor, defective: Tensor) -> None:
        parameters = [each for layer in (first, self.mix, self.judge) for each in layer.parameters()]
        optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, TRAINING_STEPS)
        labels = torch.cat([torch.ones(CELLS_PER_CLASS), torch.zeros(CELLS_PER_CLASS)])
        strength = torch.full((2 * CELLS_PER_CLASS, 1), FEATURE_NOISE)
        strength[:ANOMALY_CELLS] = ANOMALY_NOISE
        for _ in range(TRAINING_STEPS):
            bad_rows = torch.randint(len(defective), (CELLS_PER_CLASS,))
            good_rows = torch.randint(len(good), (CELLS_PER_CLASS,))
            noisy = good[torch.randint(len(good), (ANOMALY_CELLS,))]
            cells = torch.cat([noisy, defective[bad_rows[ANOMALY_CELLS:]], good[good_rows]])
            cells = cells + strength * torch.randn_like(cells)
            mixed = _apply_to_cells(self.mix, _apply_to_cells(first, cells).clamp(0, 6)).clamp(0, 6)
            odds = _apply_to_cells(self.judge, mixed).clamp(-LOGIT_LIMIT, LOGIT_LIMIT).flatten()
            optimizer.zero_grad()
            torch.autograd.backward(functional.binary_cross_entropy_with_logits(odds, labels))
            optimizer.step()
            schedule.step()

    def forward(self, features: Sequence[Tensor], evidence: Tensor | None = None) -> tuple[Tensor, Tensor]:
        odds = self.judge(self.mix(self.join(features).clamp(0, 6)).clamp(0, 6))
        anomaly_map, score = self.reading(odds.clamp(-LOGIT_LIMIT, LOGIT_LIMIT), evidence)
        return anomaly_map, score


def _apply_to_cells(layer: nn.Conv2d, vectors: Tensor) -> Tensor:
    """Applies a 1 x 1 convolution to single cells, n x C. It uses a matrix product, which is much faster."""
    return functional.linear(vectors, layer.weight.flatten(1), layer.bias)
