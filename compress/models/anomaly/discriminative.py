"""A small network that tells good from spoilt, cell by cell, fitted to frozen features.

In the manner of SimpleNet (Liu et al., 2023), SuperSimpleNet (Rolih et al., 2024) and GLASS (Chen et al., 2024):
defects are made up, some by spoiling pictures (synthetic.py), some by noise on the features of good ones. It is cheap
and sees what a distance does not weigh, and it knows only defects like those that were made up.

    join       levels to one vector per cell, clipped to 0…6
    mix        1 x 1, clipped to 0…6
    judge      1 x 1: log odds, clipped to +-LIMIT

It judges each cell by itself, so it is fitted to single cells of the concatenated features, as many spoilt as good
ones; then the first layer is taken apart by level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..efficientnet_lite import Backbone
from .feature_pyramid import Joined
from .image_score import Reading
from .standardization import GRID, ByChannel

WIDTH = 64
LIMIT = 16.0
STEPS = 400
CELLS = 1024  # of each sort, in a step
RATE = 2e-3
DECAY = 1e-2
NOISE = 0.3  # standard deviations, on every feature: what fitting must not mind
ANOMALY = 1.5  # standard deviations, on good cells: what it must find
NOISY = 256  # such cells in a step
SPOILT = 0.25  # share of a cell from which on it counts as spoilt; less than that is neither


class Discriminative(nn.Module):
    """Features -> anomaly map N x 1 x H/8 x W/8, in log odds, and score N."""

    bounded_outputs: ClassVar = {"score": float("-inf")}

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.join = Joined(backbone, size, ByChannel, WIDTH)
        self.mix = nn.Conv2d(WIDTH, WIDTH, 1)
        self.judge = nn.Conv2d(WIDTH, 1, 1)
        self.reading = Reading(size // GRID)

    def fit(self, good: Sequence[Tensor], spoilt: Sequence[Tensor], masks: Tensor) -> None:
        """Learns to tell them apart; `masks` N x H/8 x W/8 is the share of each cell that is spoilt."""
        self.join.learn(good)
        shares = masks.flatten()
        altered = torch.cat(list(self.join.vectors(spoilt)))
        fine = torch.cat([*self.join.vectors(good), altered[shares == 0]])
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(0)
            first = nn.Conv2d(fine.shape[1], WIDTH, 1)
            self.mix.reset_parameters()
            self.judge.reset_parameters()
            self.requires_grad_(True)
            self._train(first, fine, altered[shares > SPOILT])
        self.requires_grad_(False)
        with torch.no_grad():
            assert first.bias is not None
            self.join.adopt(first.weight[..., 0, 0], first.bias)

    def _train(self, first: nn.Conv2d, fine: Tensor, bad: Tensor) -> None:
        parameters = [each for layer in (first, self.mix, self.judge) for each in layer.parameters()]
        optimiser = torch.optim.AdamW(parameters, RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS)
        truth = torch.cat([torch.ones(CELLS), torch.zeros(CELLS)])
        strength = torch.full((2 * CELLS, 1), NOISE)
        strength[:NOISY] = ANOMALY
        for _ in range(STEPS):
            one, other = torch.randint(len(bad), (CELLS,)), torch.randint(len(fine), (CELLS,))
            shown = torch.cat([fine[torch.randint(len(fine), (NOISY,))], bad[one[NOISY:]], fine[other]])
            shown = shown + strength * torch.randn_like(shown)
            mixed = _dense(self.mix, _dense(first, shown).clamp(0, 6)).clamp(0, 6)
            odds = _dense(self.judge, mixed).clamp(-LIMIT, LIMIT).flatten()
            optimiser.zero_grad()
            torch.autograd.backward(functional.binary_cross_entropy_with_logits(odds, truth))
            optimiser.step()
            schedule.step()

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        odds = self.judge(self.mix(self.join(features).clamp(0, 6)).clamp(0, 6))
        anomaly_map, score = self.reading(odds.clamp(-LIMIT, LIMIT))
        return anomaly_map, score


def _dense(layer: nn.Conv2d, vectors: Tensor) -> Tensor:
    """A 1 x 1 convolution of single cells, n x C: the same, and much faster."""
    return functional.linear(vectors, layer.weight.flatten(1), layer.bias)
