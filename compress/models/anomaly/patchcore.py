"""PatchCore as a graph for integer back ends.

Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (2022): the memory bank stores some patches of good
parts. A greedy coreset selects them, so that each patch is close to a stored patch. The anomaly is the distance to the
nearest stored patch. The position of a patch in the image does not matter, which suits parts that vary in position.

    join       joins the levels to one vector x per cell: principal components (principal_components.py), clipped to
               +-1 (FEATURE_LIMIT units)
    distance   1 x 1 convolution over x and its square: -|x - p|^2 for each stored patch p, clipped
    nearest    maximum over the patches

In 8 bits, a small difference of two large numbers is lost. So the graph does not subtract |x|^2 in a later step. Its
terms are inputs of one convolution with exact sums, and only the distance itself is rounded. The unit of distance is
DISTANCE_MARGIN times the largest distance of any patch in the good and defective images of the fit. Larger distances
are clipped to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..efficientnet_lite import Backbone
from ..image_size import ImageSize, count_cells
from .feature_fusion import split_batches
from .image_score import MapScore
from .principal_components import ComponentFusion
from .standardization import CELL_PIXELS

MEMORY_PATCHES = 512  # size of the memory bank
FEATURE_LIMIT = 6.0  # standard deviations of a feature
DISTANCE_MARGIN = 1.25


class PatchCore(nn.Module):
    """Features -> anomaly map N x 1 x H/8 x W/8 and image score N, 0…1 in units of the largest distance."""

    bounded_outputs: ClassVar = {"score": 0.0}

    def __init__(self, backbone: Backbone, size: ImageSize) -> None:
        super().__init__()
        self.backbone = backbone
        self.join = ComponentFusion(backbone, size)
        self.distance = nn.Conv2d(2 * self.join.width, MEMORY_PATCHES, 1).requires_grad_(False)
        self.reading = MapScore(count_cells(size, CELL_PIXELS), sign=-1.0)

    def assume_largest_structure(self) -> None:
        """Does nothing: all fits have one structure."""

    @torch.no_grad()
    def fit(self, good: Sequence[Tensor], defective: Sequence[Tensor], masks: Tensor) -> None:
        """Stores patches of good images. The defective images only affect the unit of distance."""
        generator = torch.Generator().manual_seed(0)
        self.join.fit(good)
        patches, mean, directions = self.join.sample_cells(good, generator)
        projection = directions.T.float() / FEATURE_LIMIT
        self.join.set_projection(projection, -projection @ mean)

        memory = _select_coreset((patches @ projection.T - projection @ mean).clamp(-1, 1), MEMORY_PATCHES, generator)
        weight = torch.cat([2 * memory, -torch.ones_like(memory)], dim=1)
        self._set_memory(weight, -(memory**2).sum(dim=1))
        farthest = max(
            float(-self._nearest_closeness(batch, clip=False).min())
            for features in (good, defective)
            for batch in split_batches(features)
        )
        self._set_memory(weight / (DISTANCE_MARGIN * farthest), -(memory**2).sum(dim=1) / (DISTANCE_MARGIN * farthest))

    def _set_memory(self, weight: Tensor, bias: Tensor) -> None:
        self.distance.weight.copy_(weight[..., None, None])
        assert self.distance.bias is not None
        self.distance.bias.copy_(bias)

    def _nearest_closeness(self, features: Sequence[Tensor], clip: bool = True) -> Tensor:
        """Returns the negative squared distance to the nearest stored patch, N x 1 x h x w."""
        patch = self.join(features).clamp(-1, 1)
        closeness = self.distance(torch.cat([patch, patch * patch], dim=1))
        nearest: Tensor = (closeness.clamp(-1, 0) if clip else closeness).amax(dim=1, keepdim=True)
        return nearest

    def forward(self, features: Sequence[Tensor], evidence: Tensor | None = None) -> tuple[Tensor, Tensor]:
        anomaly_map, score = self.reading(self._nearest_closeness(features), evidence)
        return anomaly_map, score


def _select_coreset(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Selects `count` vectors, each the farthest from all earlier ones. It repeats vectors if there are too few."""
    chosen = [int(torch.randint(len(vectors), (1,), generator=generator))]
    nearest = ((vectors - vectors[chosen[0]]) ** 2).sum(dim=1)
    for _ in range(count - 1):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, ((vectors - vectors[chosen[-1]]) ** 2).sum(dim=1))
    return vectors[chosen]
