"""Feature maps of several levels as one: each cell of the anomaly map gets one vector.

    pool       depthwise 3 x 3 mean, less the channel's mean, in units of its standard deviation over good parts
    project    1 x 1 convolution, per level at its own resolution
    enlarge    nearest neighbour to the cells of the map
    add        so that nothing is concatenated: a sum of projections is a projection of the concatenation

The deep, wide levels are projected while they are still small.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backbone import Backbone

GRID = 8  # pixels of the input per cell of the anomaly map
FLOOR = 1e-3


class Joined(nn.Module):
    """Features, per level N x C x H x W -> N x width x cells x cells."""

    def __init__(self, backbone: Backbone, size: int, width: int) -> None:
        super().__init__()
        self.cells = size // GRID
        shapes = list(zip(backbone.channels, backbone.strides, strict=True))
        self.pools = nn.ModuleList(Pool(channels, max(GRID // stride, 1), bias=True) for channels, stride in shapes)
        self.projects = nn.ModuleList(nn.Conv2d(each[0], width, 1, bias=not n) for n, each in enumerate(shapes))
        self.requires_grad_(False)

    def standardise(self, good: Sequence[Sequence[Tensor]]) -> None:
        """Sets the means and the standard deviations from batches of good parts' features."""
        for number, each in enumerate(self.pools):
            assert isinstance(each, Pool)
            each.reset()
            pooled = [each(batch[number]).double() for batch in good]
            count = sum(len(batch) * batch.shape[2] * batch.shape[3] for batch in pooled)
            mean = torch.stack([batch.sum(dim=(0, 2, 3)) for batch in pooled]).sum(dim=0) / count
            square = torch.stack([(batch**2).sum(dim=(0, 2, 3)) for batch in pooled]).sum(dim=0) / count
            each.scale((square - mean**2).clamp(min=FLOOR**2).sqrt(), mean)

    def concatenated(self, features: Sequence[Tensor]) -> Tensor:
        """What would be projected: N x (channels of all levels) x cells x cells."""
        pooled = [each(level) for each, level in zip(self.pools, features, strict=True)]
        return torch.cat([enlarged(level, self.cells) for level in pooled], dim=1)

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
        parts = zip(self.pools, self.projects, features, strict=True)
        return functools.reduce(
            torch.add, [enlarged(project(each(level)), self.cells) for each, project, level in parts]
        )


class Pool(nn.Module):
    """A depthwise 3 x 3 mean with TensorFlow's SAME padding, as in the backbone."""

    def __init__(self, channels: int, stride: int, bias: bool = False) -> None:
        super().__init__()
        before = 1 if stride == 1 else 0
        self.pad = nn.ZeroPad2d((before, 1, before, 1))
        self.mean = nn.Conv2d(channels, channels, 3, stride, groups=channels, bias=bias)
        self.requires_grad_(False)
        self.reset()

    def reset(self) -> None:
        nn.init.constant_(self.mean.weight, 1 / 9)
        if self.mean.bias is not None:
            nn.init.zeros_(self.mean.bias)

    def scale(self, unit: Tensor, origin: Tensor | None = None) -> None:
        """From now on in units of `unit`, less `origin`, both per channel."""
        self.mean.weight /= unit.float()[:, None, None, None]
        if self.mean.bias is not None and origin is not None:
            self.mean.bias.copy_((-origin / unit).float())

    def forward(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.mean(self.pad(features))
        return pooled


def enlarged(level: Tensor, cells: int) -> Tensor:
    """N x C x h x w -> N x C x cells x cells, by nearest neighbour."""
    if level.shape[-1] == cells:
        return level
    return functional.interpolate(level, scale_factor=float(cells // level.shape[-1]))
