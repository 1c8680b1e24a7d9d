"""Feature fusion: combines the feature maps of several levels into one vector per cell of the anomaly map.

    level      3 x 3 mean, standardized by the statistics of good images (standardization.py)
    project    1 x 1 convolution per level at its own resolution
    upsample   nearest neighbor, to the finest level
    add        sum over the levels; a sum of projections equals a projection of the concatenation

This order is cheap, because the deep, wide levels are projected at their low resolution.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..image_size import ImageSize, count_cells
from .location_clusters import Grid, nest_locations
from .standardization import CELL_PIXELS, StandardizationLayer

_BATCH = 32


class FeatureLevels(Protocol):
    """The levels of features, from shallow to deep."""

    channels: list[int]
    strides: list[int]
    """Input pixels per cell of each level."""


class FeatureFusion(nn.Module):
    """Features, N x C x H x W per level -> N x width x rows x columns, with those of the finest level.

    It does not upsample the finest level. A clip directly after an upsampling would give the copies another scale.

    Args:
        backbone: backbone that defines the channels and strides of the levels
        size: size of the input
        standardization: class of the standardization of a level
        width: output channels
    """

    def __init__(
        self, backbone: FeatureLevels, size: ImageSize, standardization: type[StandardizationLayer], width: int
    ) -> None:
        super().__init__()
        self.cells = count_cells(size, CELL_PIXELS)
        """Rows and columns of the anomaly map."""
        self.standardization = standardization
        self.shapes = list(zip(backbone.channels, backbone.strides, strict=True))
        self.grids = [count_cells(size, max(stride, CELL_PIXELS)) for stride in backbone.strides]
        """Rows and columns of each level after its standardization."""
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
        """Returns the standardized levels before projection, N x (channels of all levels) x rows x columns."""
        return torch.cat([upsample_level(each, self.cells) for each in self.standardize_levels(features)], dim=1)

    def iterate_cell_vectors(self, features: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yields the standardized levels, one batch of images at a time, cells x (channels of all levels)."""
        for batch in split_batches(features):
            yield flatten_cells(self.concatenate_levels(batch))

    def gather_cell_vectors(self, features: Sequence[Tensor], rows: Tensor) -> Tensor:
        """Returns some rows of the standardized levels, rows x (channels of all levels), without holding the others.

        Args:
            features: N x C x H x W per level
            rows: indices below N x rows x columns, image by image, each image row by row
        """
        gathered, start = torch.empty(len(rows), sum(channels for channels, _ in self.shapes)), 0
        for vectors in self.iterate_cell_vectors(features):
            here = (rows >= start) & (rows < start + len(vectors))
            gathered[here] = vectors[rows[here] - start]
            start += len(vectors)
        return gathered

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

    def standardize_levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns each level after its standardization, N x C x rows x columns."""
        return [level(each) for level, each in zip(self.levels, features, strict=True)]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        parts = zip(self.projects, self.standardize_levels(features), strict=True)
        return functools.reduce(torch.add, [upsample_level(project(each), max(self.grids)) for project, each in parts])


class ClusteredProjection(nn.Module):
    """Standardized levels -> one projection per cluster of locations, N x width x 1 x locations.

    The locations of a cluster are gathered side by side, so that each cluster is one 1 x 1 convolution per level. No
    location is computed twice.

    Args:
        clusters: cluster of each location of the coarsest level, row by row
        channels: channels of each level
        grids: rows and columns of each level
        width: output channels
    """

    places: Tensor
    """Index of each location of the finest level in the output."""

    def __init__(self, clusters: Tensor, channels: Sequence[int], grids: Sequence[Grid], width: int) -> None:
        super().__init__()
        self.channels, self.grids = channels, grids
        ordered = sorted(set(grids))
        self.count = int(clusters.max()) + 1
        self.projects = nn.ModuleList()
        finest: list[int] = []
        for cluster in range(self.count):
            nested = nest_locations((clusters == cluster).nonzero()[:, 0].tolist(), ordered)
            finest += nested[-1]
            for level, (inputs, grid) in enumerate(zip(channels, grids, strict=True)):
                self.register_buffer(f"locations_{cluster}_{level}", torch.tensor(nested[ordered.index(grid)]))
                self.projects.append(nn.Conv2d(inputs, width, 1, bias=False))
        self.register_buffer("places", torch.tensor(finest).argsort())
        self.requires_grad_(False)

    def set_projection(self, cluster: int, weight: Tensor) -> None:
        """Sets the projection of a cluster, width x channels of all levels."""
        parts = torch.split(weight, list(self.channels), dim=1)
        for level, part in enumerate(parts):
            projection = self.projects[cluster * len(self.channels) + level]
            assert isinstance(projection, nn.Conv2d)
            projection.weight.copy_(part[..., None, None])

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        rows = [level.reshape(level.shape[0], level.shape[1], 1, -1) for level in levels]
        return [self._project_cluster(cluster, rows) for cluster in range(self.count)]

    def _project_cluster(self, cluster: int, rows: Sequence[Tensor]) -> Tensor:
        parts: list[Tensor] = []
        for level, (row, grid) in enumerate(zip(rows, self.grids, strict=True)):
            locations = self.get_buffer(f"locations_{cluster}_{level}")
            projected = self.projects[cluster * len(rows) + level](torch.index_select(row, 3, locations))
            copies = (max(self.grids)[0] // grid[0]) ** 2
            if copies > 1:
                projected = functional.interpolate(projected, scale_factor=(1.0, float(copies)))
            parts.append(projected)
        return functools.reduce(torch.add, parts)


def split_batches(features: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Yields batches of images, N x C x H x W per level."""
    return zip(*(torch.split(level, _BATCH) for level in features), strict=True)


def flatten_cells(features: Tensor) -> Tensor:
    """Reshapes N x C x h x w to (N h w) x C."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def upsample_level(level: Tensor, grid: Grid) -> Tensor:
    """Upsamples N x C x h x w to N x C x rows x columns by nearest neighbor."""
    if level.shape[-1] == grid[1]:
        return level
    return functional.interpolate(level, scale_factor=float(grid[1] // level.shape[-1]))
