"""Principal components of the cells of good images: what PatchCore and the golden sample compare.

The levels of features are joined to one vector per cell, and projected to the directions in which good images vary
most. They are computed from a sample of the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from ..efficientnet_lite import Backbone
from ..image_size import ImageSize
from .feature_fusion import FeatureFusion
from .standardization import ChannelStandardizationLayer

MAX_COMPONENTS = 64
CELL_SAMPLE = 20_000  # cells from which the components are computed


class CellSample(NamedTuple):
    """Standardized vectors of some cells, and the directions in which they vary most."""

    vectors: Tensor
    """Cells x (channels of all levels)."""
    mean: Tensor
    """Channels of all levels."""
    directions: Tensor
    """Channels of all levels x components, float64, orthonormal; the last one has the largest variance."""


class ComponentFusion(FeatureFusion):
    """Feature fusion to at most MAX_COMPONENTS components; its model sets the projection."""

    def __init__(self, backbone: Backbone, size: ImageSize) -> None:
        super().__init__(backbone, size, ChannelStandardizationLayer, min(MAX_COMPONENTS, sum(backbone.channels)))

    def sample_cells(self, good: Sequence[Tensor], generator: torch.Generator) -> CellSample:
        """A random sample of the cells of good images, N x C x H x W per level, after `fit`."""
        count = len(good[0]) * prod(self.cells)
        vectors = self.gather_cell_vectors(good, torch.randperm(count, generator=generator)[:CELL_SAMPLE])
        mean = vectors.mean(dim=0)
        _, directions = torch.linalg.eigh(((vectors - mean).T @ (vectors - mean)).double())
        return CellSample(vectors, mean, directions[:, -self.width :])
