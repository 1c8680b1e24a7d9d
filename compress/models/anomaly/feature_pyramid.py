"""Feature maps of several levels as one: each cell of the anomaly map gets one vector.

    level      3 x 3 mean, less the mean and in units of the spread over good parts: level.py
    project    1 x 1 convolution, per level at its own resolution
    enlarge    nearest neighbour to the cells of the map
    add        so that nothing is concatenated: a sum of projections is a projection of the concatenation

The deep, wide levels are projected while they are still small.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..efficientnet_lite import Backbone
from .standardization import GRID, Level

_BATCH = 32


class Joined(nn.Module):
    """Features, per level N x C x H x W -> N x width x cells x cells; `width` None is that of all levels together."""

    def __init__(self, backbone: Backbone, size: int, kind: type[Level], width: int | None = None) -> None:
        super().__init__()
        self.cells = size // GRID
        self.kind = kind
        self.shapes = list(zip(backbone.channels, backbone.strides, strict=True))
        self.width = width or sum(backbone.channels)
        self.levels = nn.ModuleList(self._new_levels())
        self.projects = nn.ModuleList(
            nn.Conv2d(channels, self.width, 1, bias=number == 0) for number, (channels, _) in enumerate(self.shapes)
        )
        self.requires_grad_(False)

    def learn(self, good: Sequence[Tensor]) -> None:
        """Takes the means and the spreads of good parts' features."""
        self.levels = nn.ModuleList(self._new_levels())
        for level, each in zip(self.levels, good, strict=True):
            assert isinstance(level, Level)
            level.learn(each)

    def _new_levels(self) -> list[Level]:
        return [self.kind(channels, max(GRID // stride, 1)) for channels, stride in self.shapes]

    def concatenated(self, features: Sequence[Tensor]) -> Tensor:
        """What would be projected: N x (channels of all levels) x cells x cells."""
        measured = [level(each) for level, each in zip(self.levels, features, strict=True)]
        return torch.cat([enlarged(each, self.cells) for each in measured], dim=1)

    def vectors(self, features: Sequence[Tensor]) -> Iterator[Tensor]:
        """The same, some images at a time, as cells x (channels of all levels)."""
        for batch in zip(*(torch.split(level, _BATCH) for level in features), strict=True):
            yield cells(self.concatenated(batch))

    def adopt(self, weight: Tensor, bias: Tensor) -> None:
        """Takes a projection of the concatenation, width x channels, apart into those of the levels."""
        start = 0
        for each in self.projects:
            assert isinstance(each, nn.Conv2d)
            each.weight.copy_(weight[:, start : start + each.in_channels, None, None])
            start += each.in_channels
            if each.bias is not None:
                each.bias.copy_(bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        parts = zip(self.levels, self.projects, features, strict=True)
        return functools.reduce(
            torch.add, [enlarged(project(level(each)), self.cells) for level, project, each in parts]
        )


def cells(features: Tensor) -> Tensor:
    """N x C x h x w -> (N h w) x C."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def enlarged(level: Tensor, cells: int) -> Tensor:
    """N x C x h x w -> N x C x cells x cells, by nearest neighbour."""
    if level.shape[-1] == cells:
        return level
    return functional.interpolate(level, scale_factor=float(cells // level.shape[-1]))
