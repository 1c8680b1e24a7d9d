"""A small network that tells good from spoilt, cell by cell, fitted to frozen features.

In the manner of SimpleNet (Liu et al., 2023), SuperSimpleNet (Rolih et al., 2024) and GLASS (Chen et al., 2024): defects
are made up, some by spoiling pictures (synthetic.py), some by noise on the features of good ones. It is cheap and sees
what a distance does not weigh, and it knows only defects like those that were made up.

    join       levels to one vector per cell, clipped to 0…6
    around     depthwise 3 x 3 and 1 x 1, clipped to 0…6
    judge      1 x 1: log odds, clipped to +-LIMIT

The three parts are fitted together on the concatenated features; then the first is taken apart by level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backbone import Backbone
from .joined import GRID, Joined
from .reading import Reading

WIDTH = 64
LIMIT = 16.0
STEPS = 400
BATCH = 8  # spoilt and as many good pictures
RATE = 2e-3
DECAY = 1e-2
NOISE = 0.3  # standard deviations, on every feature: what fitting must not mind
ANOMALY = 1.5  # standard deviations, on some cells of good pictures: what it must find
SPOILT = 0.25  # share of a cell from which on it counts as spoilt; less than that is neither
WHOLE = 0.3  # weight of the whole picture's verdict beside the cells'


class Discriminative(nn.Module):
    """Features -> anomaly map N x 1 x H/8 x W/8, in log odds, and score N."""

    bounded_outputs = {"score": float("-inf")}

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.join = Joined(backbone, size, WIDTH)
        self.around = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.mix = nn.Conv2d(WIDTH, WIDTH, 1)
        self.judge = nn.Conv2d(WIDTH, 1, 1)
        self.reading = Reading(size // GRID)

    def fit(self, good: Sequence[Sequence[Tensor]], spoilt: Sequence[Sequence[Tensor]], masks: Tensor) -> None:
        """Learns to tell them apart; `masks` N x H/8 x W/8 is the share of each cell that is spoilt."""
        self.join.standardise(good)
        fine = torch.cat([self.join.concatenated(batch) for batch in good])
        bad = torch.cat([self.join.concatenated(batch) for batch in spoilt])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            first = nn.Conv2d(fine.shape[1], WIDTH, 1)
            for layer in (self.around, self.mix, self.judge):
                layer.reset_parameters()
            self.requires_grad_(True)
            self._train(first, fine, bad, masks)
        self.requires_grad_(False)
        with torch.no_grad():
            assert first.bias is not None
            self.join.adopt(first.weight[..., 0, 0], first.bias)

    def _train(self, first: nn.Conv2d, fine: Tensor, bad: Tensor, masks: Tensor) -> None:
        layers = (first, self.around, self.mix, self.judge)
        optimiser = torch.optim.AdamW([p for layer in layers for p in layer.parameters()], RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS)
        for _ in range(STEPS):
            one, other = torch.randint(len(bad), (BATCH,)), torch.randint(len(fine), (BATCH,))
            features, shares = torch.cat([bad[one], fine[other]]), torch.zeros(2 * BATCH, *masks.shape[1:])
            shares[:BATCH] = masks[one]
            features, shares = _disturbed(features, shares)
            loss = _loss(self._odds(first(features)), shares)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

    def _odds(self, joined: Tensor) -> Tensor:
        seen = self.mix(self.around(joined.clamp(0, 6))).clamp(0, 6)
        odds: Tensor = self.judge(seen).clamp(-LIMIT, LIMIT)
        return odds

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        anomaly_map, score = self.reading(self._odds(self.join(features)))
        return anomaly_map, score


def _disturbed(features: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """A little noise everywhere, and much of it in a patch of every second good picture, which is then spoilt there."""
    features = features + NOISE * torch.randn_like(features)
    count, _, height, width = features.shape
    coarse = torch.randn(count, 1, height // 4 + 1, width // 4 + 1)
    noise = functional.interpolate(coarse, size=(height, width), mode="bilinear")[:, 0]
    where = (noise > 1.0).float()
    where[: BATCH + BATCH // 2] = 0
    features = features + ANOMALY * where[:, None] * torch.randn_like(features)
    return features, torch.maximum(shares, where)


def _loss(odds: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy, where spoilt cells weigh as much as good ones, and that of the whole pictures."""
    odds, spoilt, clean = odds[:, 0], (shares > SPOILT).float(), (shares == 0).float()
    cells = functional.binary_cross_entropy_with_logits(odds, spoilt, reduction="none")
    balanced = (cells * spoilt).sum() / spoilt.sum().clamp(min=1) + (cells * clean).sum() / clean.sum().clamp(min=1)
    highest = odds.flatten(1).topk(8, dim=1).values.mean(dim=1)
    whole = functional.binary_cross_entropy_with_logits(highest, spoilt.flatten(1).amax(dim=1))
    return balanced / 2 + WHOLE * whole
