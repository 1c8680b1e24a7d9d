"""Feature maps of several levels as one: each cell of the anomaly map gets one vector.

    pool       depthwise 3 x 3 mean, less the channel's mean, in units of its standard deviation over good parts
    project    1 x 1 convolution, per level at its own resolution
    enlarge    nearest neighbour to the cells of the map
    add        so that nothing is concatenated: a sum of projections is a projection of the concatenation

The deep, wide levels are projected while they are still small.
"""

from __future__ import annotations

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
        self.pools, self.projects = nn.ModuleList(), nn.ModuleList()
        for number, (channels, stride) in enumerate(zip(backbone.channels, backbone.strides, strict=True)):
            self.pools.append(pool(channels, max(GRID // stride, 1), bias=True))
            self.projects.append(nn.Conv2d(channels, width, 1, bias=number == 0))
        self.requires_grad_(False)

    def standardise(self, good: Sequence[Sequence[Tensor]]) -> None:
        """Sets the means and the standard deviations from batches of good parts' features."""
        for number, each in enumerate(self.pools):
            plain = pool(each[1].in_channels, each[1].stride[0], bias=True)
            pooled = [plain(batch[number]).double() for batch in good]
            count = sum(len(batch) * batch.shape[2] * batch.shape[3] for batch in pooled)
            mean = torch.stack([batch.sum(dim=(0, 2, 3)) for batch in pooled]).sum(dim=0) / count
            square = torch.stack([(batch**2).sum(dim=(0, 2, 3)) for batch in pooled]).sum(dim=0) / count
            spread = (square - mean**2).clamp(min=FLOOR**2).sqrt()
            each[1].weight.copy_((plain[1].weight / spread[:, None, None, None]).float())
            each[1].bias.copy_((-mean / spread).float())

    def concatenated(self, features: Sequence[Tensor]) -> Tensor:
        """What would be projected: N x (channels of all levels) x cells x cells."""
        pooled = [each(level) for each, level in zip(self.pools, features, strict=True)]
        return torch.cat([enlarged(level, self.cells) for level in pooled], dim=1)

    def adopt(self, weight: Tensor, bias: Tensor) -> None:
        """Takes a projection of the concatenation, width x channels, apart into those of the levels."""
        parts = weight.split([each.in_channels for each in self.projects], dim=1)
        for each, part in zip(self.projects, parts, strict=True):
            each.weight.copy_(part[..., None, None])
        self.projects[0].bias.copy_(bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        total = None
        for each, project, level in zip(self.pools, self.projects, features, strict=True):
            projected = enlarged(project(each(level)), self.cells)
            total = projected if total is None else total + projected
        assert total is not None  # a backbone taps at least one block
        return total


def pool(channels: int, stride: int, bias: bool = False) -> nn.Sequential:
    """A depthwise 3 x 3 mean with TensorFlow's SAME padding, as in the backbone; its bias begins at 0."""
    before = 1 if stride == 1 else 0
    mean = nn.Conv2d(channels, channels, 3, stride, groups=channels, bias=bias)
    nn.init.constant_(mean.weight, 1 / 9)
    if mean.bias is not None:
        nn.init.zeros_(mean.bias)
    return nn.Sequential(nn.ZeroPad2d((before, 1, before, 1)), mean).requires_grad_(False)


def enlarged(level: Tensor, cells: int) -> Tensor:
    """N x C x h x w -> N x C x cells x cells, by nearest neighbour."""
    if level.shape[-1] == cells:
        return level
    return functional.interpolate(level, scale_factor=float(cells // level.shape[-1]))
