"""Feature fusion: combines the feature maps of several levels into one vector per cell of the anomaly map.

    level      3 x 3 mean, standardized by the statistics of good images (standardization.py)
    project    1 x 1 convolution per level at its own resolution
    upsample   nearest neighbor, to the cells of the map
    add        sum over the levels; a sum of projections equals a projection of the concatenation

This order is cheap, because the deep, wide levels are projected at their low resolution.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..efficientnet_lite import Backbone
from .standardization import CELL_PIXELS, StandardizationLayer

_BATCH = 32


class FeatureFusion(nn.Module):
    """Features, N x C x H x W per level -> N x width x cells x cells.

    Args:
        backbone: backbone that defines the channels and strides of the levels
        size: side of the input in pixels
        standardization: class of the standardization of a level
        width: output channels
    """

    def __init__(self, backbone: Backbone, size: int, standardization: type[StandardizationLayer], width: int) -> None:
        super().__init__()
        self.cells = size // CELL_PIXELS
        self.standardization = standardization
        self.shapes = list(zip(backbone.channels, backbone.strides, strict=True))
        self.width = width
        self.levels = nn.ModuleList(self._create_levels())
        self.projects = nn.ModuleList(
            nn.Conv2d(channels, self.width, 1, bias=number == 0) for number, (channels, _) in enumerate(self.shapes)
        )
        self.requires_grad_(False)

    def fit(self, good: Sequence[Tensor]) -> None:
        """Computes the statistics of each level from the features of good images."""
        self.levels = nn.ModuleList(self._create_levels())
        for level, features in zip(self.levels, good, strict=True):
            assert isinstance(level, StandardizationLayer)
            level.fit(features)

    def _create_levels(self) -> list[StandardizationLayer]:
        return [self.standardization(channels, max(CELL_PIXELS // stride, 1)) for channels, stride in self.shapes]

    def concatenate_levels(self, features: Sequence[Tensor]) -> Tensor:
        """Returns the standardized levels before projection, N x (channels of all levels) x cells x cells."""
        standardized = [level(each) for level, each in zip(self.levels, features, strict=True)]
        return torch.cat([upsample_level(each, self.cells) for each in standardized], dim=1)

    def iterate_cell_vectors(self, features: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yields the standardized levels, one batch of images at a time, cells x (channels of all levels)."""
        for batch in zip(*(torch.split(level, _BATCH) for level in features), strict=True):
            yield flatten_cells(self.concatenate_levels(batch))

    def set_projection(self, weight: Tensor, bias: Tensor) -> None:
        """Sets the projection of each level from a projection of the concatenated levels.

        Args:
            weight: width x channels of all levels
            bias: width
        """
        start = 0
        for projection in self.projects:
            assert isinstance(projection, nn.Conv2d)
            projection.weight.copy_(weight[:, start : start + projection.in_channels, None, None])
            start += projection.in_channels
            if projection.bias is not None:
                projection.bias.copy_(bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        parts = zip(self.levels, self.projects, features, strict=True)
        return functools.reduce(
            torch.add, [upsample_level(project(level(each)), self.cells) for level, project, each in parts]
        )


def flatten_cells(features: Tensor) -> Tensor:
    """Reshapes N x C x h x w to (N h w) x C."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def upsample_level(level: Tensor, cells: int) -> Tensor:
    """Upsamples N x C x h x w to N x C x cells x cells by nearest neighbor."""
    if level.shape[-1] == cells:
        return level
    return functional.interpolate(level, scale_factor=float(cells // level.shape[-1]))
