"""What is fitted to the images: a network and a way of telling normal from not, as one graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from vedette.runtime.plugins import choose

from ..efficientnet_lite import Backbone

DETECTORS = {
    "padim": ".padim:Padim",
    "patchcore": ".patchcore:Patchcore",
    "discriminative": ".discriminative:Discriminative",
}


class Detector(Protocol):
    """A torch module over the features of a backbone."""

    backbone: Backbone
    bounded_outputs: Mapping[str, float]
    """Outputs that follow from clipped values by a few layers, so that interval arithmetic gives them a tight range;
    and what each cannot fall below, for that arithmetic does not see that a maximum is no less than the mean."""

    def fit(self, good: Sequence[Tensor], spoilt: Sequence[Tensor], masks: Tensor) -> None:
        """Learns from features, per tapped level N x C x H x W. Forgets what it knew.

        Args:
            good: of good parts
            spoilt: of good parts with made-up defects
            masks: of those, N x H/8 x W/8: the share of each cell that is spoilt
        """

    def __call__(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features -> `map` N x 1 x H/8 x W/8 and `score` N."""


def load(name: str, network: Backbone, size: int, rank: int | None = None) -> Detector:
    """The detector of that name over all that `network` taps, for images of size x size, not fitted yet.

    Args:
        name: in `DETECTORS`
        network: whose features it looks at
        size: pixels
        rank: of PaDiM alone: how many directions count; None: all

    Raises:
        ConfigProblem: there is no such detector.
    """
    part = choose(__package__, DETECTORS, name, "model.detector")
    detector: Detector = part(network, size) if rank is None else part(network, size, rank)
    return detector


def width(blocks: Sequence[int]) -> int:
    """Channels of those blocks together."""
    return sum(Backbone(blocks).channels)
