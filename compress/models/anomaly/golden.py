"""Golden sample: the difference from the nearest of a few good images, at each place, as a graph for integer back ends.

An inspector compares a printed board with a good one that lies beside it. This model does the same with features, which
do not mind noise and other light. It suits parts that lie alike, or are aligned, and of which only a few good images
exist: nothing but one scale per place is estimated. PaDiM compares with an average part, this model with real ones, so
a part of which two variants exist is compared with both.

    join       joins the levels to one vector x per cell: the main components of good parts, clipped. A random rotation
               gives all components about the same variance, so that one integer scale suits them all
    scale      divides by how far good images usually are from their nearest reference at this place
    distance   per reference image r: mean over the components of (x - r)^2, each difference clipped
    nearest    minimum over the reference images

The references are up to MAX_REFERENCES good images: the one closest to all others, then each the farthest from all
earlier ones. The minimum over 3 x 3 neighboring cells as well does not help (docs/accuracy.md): a cell has 8 pixels,
more than an aligned part moves, and the features of neighboring cells overlap anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..efficientnet_lite import Backbone
from ..image_size import ImageSize, count_cells
from .feature_fusion import split_batches
from .image_score import MapScore
from .principal_components import ComponentFusion
from .standardization import CELL_PIXELS

MAX_REFERENCES = 8
FEATURE_LIMIT = 6.0  # standard deviations of a feature
DEVIATION_LIMIT = 4.0  # usual deviations of a good image at a place
PRIOR_WEIGHT = 20.0  # images; weight of the whole map's spread, relative to that of a place
_POOLED_CELLS = 4  # side of the squares of cells whose means decide which images are references
_MIN_SPREAD = 1e-4


class GoldenSample(nn.Module):
    """Features -> anomaly map N x 1 x H/8 x W/8 and image score N, in units of the usual distance of a good image."""

    bounded_outputs: ClassVar = {"score": 0.0}

    def __init__(self, backbone: Backbone, size: ImageSize) -> None:
        super().__init__()
        self.backbone = backbone
        self.join = ComponentFusion(backbone, size)
        self.cells = count_cells(size, CELL_PIXELS)
        self.mean = nn.Conv2d(self.join.width, 1, 1, bias=False).requires_grad_(False)
        nn.init.constant_(self.mean.weight, -1 / self.join.width)
        self.register_buffer("scale", torch.ones(1, self.join.width, *max(self.join.grids)))
        self.max_references, self.prior_weight = MAX_REFERENCES, PRIOR_WEIGHT
        self.count = 0
        """Number of reference images, part of the graph: the first fit decides."""
        self._set_count(1)
        self.candidates: Tensor | None = None
        """Which of the good images of a fit may be references, N, bool; None: all. It does not apply to a fit to
        another number of images."""
        self.reading = MapScore(self.cells, sign=-1.0, limit=DEVIATION_LIMIT**2)
        self._is_fitted = False

    def assume_largest_structure(self) -> None:
        """Takes as many references as a fit may choose, before any fit."""
        self._set_count(self.max_references)

    @property
    def constant_bytes(self) -> int:
        """Bytes of the references and scales in an int8 file."""
        return (self.count + 1) * self.get_buffer("scale").numel()

    def _set_count(self, count: int) -> None:
        for number in range(self.count, count):
            self.register_buffer(f"reference_{number}", torch.zeros_like(self.get_buffer("scale")))
        for number in range(count, self.count):
            delattr(self, f"reference_{number}")
        self.count = count

    @torch.no_grad()
    def fit(self, good: Sequence[Tensor], defective: Sequence[Tensor], masks: Tensor) -> None:
        """Chooses the references and the scale of each place. It ignores the defective images."""
        self.join.fit(good)
        self._fit_projection(good)
        self.get_buffer("scale").fill_(1.0)
        chosen = self._choose_references(good)
        if not self._is_fitted:
            self._set_count(len(chosen))
            self._is_fitted = True
        references = self._components([level[chosen] for level in good])
        for number in range(self.count):
            self.get_buffer(f"reference_{number}").copy_(-references[number % len(chosen)][None])
        self.get_buffer("scale").copy_(self._usual_distance(good, chosen).rsqrt())
        for number in range(self.count):
            self.get_buffer(f"reference_{number}").mul_(self.get_buffer("scale"))

    def _fit_projection(self, good: Sequence[Tensor]) -> None:
        generator = torch.Generator().manual_seed(0)
        _, mean, directions = self.join.sample_cells(good, generator)
        width = self.join.width
        rotation, _ = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))
        projection = (rotation @ directions.T).float()
        self.join.set_projection(projection, -projection @ mean)

    def _choose_references(self, good: Sequence[Tensor]) -> list[int]:
        """Indices of the references among the good images."""
        allowed = torch.arange(len(good[0]))
        if self.candidates is not None and len(self.candidates) == len(allowed):
            allowed = allowed[self.candidates]
        rows, columns = (max(side // _POOLED_CELLS, 1) for side in self.cells)
        batches = split_batches([level[allowed] for level in good])
        pooled = torch.cat(
            [functional.adaptive_avg_pool2d(self._components(each), (rows, columns)).flatten(1) for each in batches]
        )
        distances = torch.cdist(pooled, pooled)
        chosen = [int(distances.sum(dim=1).argmin())]
        nearest = distances[chosen[0]].clone()
        while len(chosen) < min(len(pooled), self.count if self._is_fitted else self.max_references):
            chosen.append(int(nearest.argmax()))
            nearest = torch.minimum(nearest, distances[chosen[-1]])
        return [int(allowed[index]) for index in chosen]

    def _usual_distance(self, good: Sequence[Tensor], chosen: list[int]) -> Tensor:
        """The usual squared distance of a good image from its nearest reference at each place, 1 x 1 x h x w.

        A reference is compared with the other references. The distance of a place is its mean over the images and over
        3 x 3 places, drawn towards the mean of all places.
        """
        total, count = torch.zeros(1, 1, *max(self.join.grids)), 0
        start = 0
        for batch in split_batches(good):
            indices = range(start, start := start + len(batch[0]))
            distances = self._distances(self._components(batch))
            for row, index in enumerate(indices):
                others = [each for each, reference in enumerate(chosen) if reference != index]
                if others:
                    total += distances[row, others].amin(dim=0)
                    count += 1
        if not count:  # one image without variations: nothing says how good images differ
            return torch.ones_like(total)
        padded = functional.pad(total / count, (1, 1, 1, 1), mode="replicate")
        place = functional.avg_pool2d(padded, 3, 1)
        shared = place.mean().clamp(min=_MIN_SPREAD)
        return (count * place + self.prior_weight * shared) / (count + self.prior_weight)

    def _components(self, features: Sequence[Tensor]) -> Tensor:
        """Components of each cell, N x components x h x w."""
        joined: Tensor = self.join(features)
        return joined.clamp(-FEATURE_LIMIT, FEATURE_LIMIT)

    def _distances(self, components: Tensor) -> Tensor:
        """Squared distances from each reference before scales are fitted, N x references x h x w."""
        differences = (components + self.get_buffer(f"reference_{number}") for number in range(self.count))
        return torch.cat([each.square().mean(dim=1, keepdim=True) for each in differences], dim=1)

    def forward(self, features: Sequence[Tensor], evidence: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scaled = self._components(features) * self.get_buffer("scale")
        closeness = torch.cat([self._closeness(scaled, number) for number in range(self.count)], dim=1)
        anomaly_map, score = self.reading(closeness.amax(dim=1, keepdim=True), evidence)
        return anomaly_map, score

    def _closeness(self, scaled: Tensor, number: int) -> Tensor:
        difference = (scaled + self.get_buffer(f"reference_{number}")).clamp(-DEVIATION_LIMIT, DEVIATION_LIMIT)
        closeness: Tensor = self.mean(difference * difference)
        return closeness


def limit_references(model: Any, candidates: Tensor) -> None:
    """Says which good images may be references, N, bool, if the model has any."""
    if isinstance(model, GoldenSample):
        model.candidates = candidates
