"""PatchCore, written as a graph that an integer back end can run.

Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (2022): remember some patches of good parts, chosen
so that none is far from all of them (a greedy coreset); the anomaly is the distance to the nearest. It does not care
where on the picture a patch lies, which suits parts that are never put down twice the same way.

    join       levels to one vector x per cell, of WIDTH principal components at most, clipped to +-1 (LIMIT units)
    distance   1 x 1 convolution over x and its square: -|x - p|^2 for each remembered patch p, clipped
    nearest    maximum over the patches

In 8 bits a small difference of two large numbers would be lost. So |x|^2 is not taken off afterwards: its terms are
inputs of the same convolution, whose sums are exact, and only the distance itself is rounded. Distances are in units of
the farthest that is told apart: REACH times the farthest of any good or spoilt picture that it was fitted with. What
lies farther counts as that far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..efficientnet_lite import Backbone
from .feature_pyramid import Joined
from .image_score import Reading
from .standardization import GRID, ByChannel

WIDTH = 64
PATCHES = 512  # remembered
LIMIT = 6.0  # standard deviations of a feature
REACH = 1.25
SAMPLE = 20_000  # patches that the coreset is drawn from


class Patchcore(nn.Module):
    """Features -> anomaly map N x 1 x H/8 x W/8 and score N, 0…1 in units of the farthest distance."""

    bounded_outputs: ClassVar = {"score": 0.0}

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.join = Joined(backbone, size, ByChannel, min(WIDTH, sum(backbone.channels)))
        self.distance = nn.Conv2d(2 * self.join.width, PATCHES, 1).requires_grad_(False)
        self.reading = Reading(size // GRID, sign=-1.0)

    @torch.no_grad()
    def fit(self, good: Sequence[Tensor], spoilt: Sequence[Tensor], masks: Tensor) -> None:
        """Remembers good parts; the spoilt ones only tell how far distances go."""
        generator = torch.Generator().manual_seed(0)
        self.join.learn(good)
        patches = torch.cat(list(self.join.vectors(good)))
        patches = patches[torch.randperm(len(patches), generator=generator)[:SAMPLE]]
        mean = patches.mean(dim=0)
        _, vectors = torch.linalg.eigh(((patches - mean).T @ (patches - mean)).double())
        projection = vectors[:, -self.join.width :].T.float() / LIMIT
        self.join.adopt(projection, -projection @ mean)

        remembered = _coreset((patches @ projection.T - projection @ mean).clamp(-1, 1), PATCHES, generator)
        weight = torch.cat([2 * remembered, -torch.ones_like(remembered)], dim=1)
        self._remember(weight, -(remembered**2).sum(dim=1))
        farthest = max(float(-self._nearest(each, clip=False).min()) for each in (good, spoilt))
        self._remember(weight / (REACH * farthest), -(remembered**2).sum(dim=1) / (REACH * farthest))

    def _remember(self, weight: Tensor, bias: Tensor) -> None:
        self.distance.weight.copy_(weight[..., None, None])
        assert self.distance.bias is not None
        self.distance.bias.copy_(bias)

    def _nearest(self, features: Sequence[Tensor], clip: bool = True) -> Tensor:
        """N x 1 x h x w, the distance to the nearest patch, squared and negative."""
        patch = self.join(features).clamp(-1, 1)
        closeness = self.distance(torch.cat([patch, patch * patch], dim=1))
        nearest: Tensor = (closeness.clamp(-1, 0) if clip else closeness).amax(dim=1, keepdim=True)
        return nearest

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        anomaly_map, score = self.reading(self._nearest(features))
        return anomaly_map, score


def _coreset(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the vectors, each the one farthest from all chosen before; where they run out, some come twice."""
    chosen = [int(torch.randint(len(vectors), (1,), generator=generator))]
    nearest = ((vectors - vectors[chosen[0]]) ** 2).sum(dim=1)
    for _ in range(count - 1):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, ((vectors - vectors[chosen[-1]]) ** 2).sum(dim=1))
    return vectors[chosen]
