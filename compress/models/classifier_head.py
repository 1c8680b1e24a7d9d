"""The backbone and a linear head, as a graph that an integer back end can run.

    unit    per tapped level: each channel by its mean and spread over all places, clipped
    pool    over the whole map: the mean of each channel, and the mean of its square
    head    1 x 1 convolution over all of them: one score per class

A crack covers a hundredth of the picture: it moves a channel's mean hardly, and its mean square much. On solar cells,
with the backbone as it came, the squares took the accuracy from 0.829 to 0.846.

The means are written as depthwise convolutions as large as the map. So they take each channel's own scale and offset
into their weights and biases, and what leaves them spans the same range in every channel: the integers are spent
evenly, and all levels can be laid side by side for one convolution, whose integer sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from .efficientnet_lite import Backbone

OUTPUTS = ("scores",)
REACH = 4.0  # standard deviations, of a channel over all places
LIMIT = 8.0  # standard deviations, of what is pooled over images
_FLOOR = 1e-3  # of a standard deviation, for channels that never change


class Pool(nn.Conv2d):
    """The mean of each channel over the whole map, frozen: N x C x S x S -> N x C x 1 x 1."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__(channels, channels, size, groups=channels)
        self.requires_grad_(False)
        nn.init.constant_(self.weight, 1 / size**2)
        nn.init.zeros_(self._offset)

    @property
    def _offset(self) -> Tensor:
        assert self.bias is not None  # a convolution has one unless told otherwise
        return self.bias

    def standardise(self, pooled: Tensor) -> Tensor:
        """Takes mean and spread of `pooled`, N x C x 1 x 1, which this pool has made, into it; what it now makes."""
        mean, spread = pooled.mean(dim=0), pooled.std(dim=0).clamp(min=_FLOOR)
        self.weight /= spread[..., None]
        self._offset.sub_(mean.flatten()).div_(spread.flatten())
        return (pooled - mean) / spread


class Moments(nn.Module):
    """Mean and mean square of one level: N x C x S x S -> twice N x C x 1 x 1."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.unit = nn.Conv2d(channels, channels, 1, groups=channels).requires_grad_(False)
        self.mean = Pool(channels, size)
        self.square = Pool(channels, size)

    def learn(self, mean: Tensor, spread: Tensor) -> None:
        """Takes each channel's mean and spread over all places, C."""
        assert self.unit.bias is not None
        spread = spread.clamp(min=_FLOOR)
        self.unit.weight.copy_((1 / spread)[:, None, None, None])
        self.unit.bias.copy_(-mean / spread)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        deviation = self.unit(features).clamp(-REACH, REACH)
        return self.mean(deviation), self.square(deviation * deviation)


class Classifier(nn.Module):
    """Features, per tapped level N x C x H x W -> scores N x K x 1 x 1."""

    def __init__(self, backbone: Backbone, classes: int, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        sizes = zip(backbone.channels, backbone.strides, strict=True)
        self.levels = nn.ModuleList(Moments(channels, size // stride) for channels, stride in sizes)
        self.head = nn.Conv2d(2 * sum(backbone.channels), classes, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def pool(self, features: Sequence[Tensor]) -> Tensor:
        """All moments of all levels side by side, N x width x 1 x 1."""
        parts = [part for level, each in zip(self.levels, features, strict=True) for part in level(each)]
        return torch.cat([part.clamp(-LIMIT, LIMIT) for part in parts], dim=1)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        return (self.head(self.pool(features)),)

    @torch.no_grad()
    def learn(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """Takes each channel's mean and spread over all places of some images' features."""
        seen = [[torch.stack([each, each**2], dim=1).double().mean(dim=(3, 4)) for each in batch] for batch in batches]
        for level, moments in zip(self.levels, zip(*seen, strict=True), strict=True):
            assert isinstance(level, Moments)
            mean, square = torch.cat(moments).mean(dim=0)
            level.learn(mean.float(), (square - mean**2).clamp(min=0).sqrt().float())

    @torch.no_grad()
    def standardise(self, pooled: Tensor) -> Tensor:
        """Takes mean and spread of `pooled`, which `pool` has made, into the pools; what it makes instead."""
        pools = [pool for level in self.levels for pool in level.children() if isinstance(pool, Pool)]
        parts = torch.split(pooled, [pool.in_channels for pool in pools], dim=1)
        standard = [pool.standardise(part) for pool, part in zip(pools, parts, strict=True)]
        return torch.cat(standard, dim=1).clamp(-LIMIT, LIMIT)

    @torch.no_grad()
    def expect(self, shares: Tensor) -> None:
        """Classes that it was taught as equally frequent come with these shares, K: the logarithms go into the head."""
        self.shift((shares / shares.mean()).log())

    @torch.no_grad()
    def shift(self, scores: Tensor) -> None:
        """Adds to the score of each class, K."""
        assert self.head.bias is not None
        self.head.bias += scores
