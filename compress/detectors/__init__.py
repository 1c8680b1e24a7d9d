"""What is fitted to the images: a network and a way of telling normal from not, as one graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from torch import Tensor

from vedette.runtime.parts import choose

from .. import backbone
from ..backbone import Backbone
from ..goal import Model

DETECTORS = {"padim": ".padim:Padim"}


class Detector(Protocol):
    """A torch module over the features of a backbone."""

    backbone: Backbone
    bounded_outputs: tuple[str, ...]
    """Outputs that follow from clipped values by a few layers, so that interval arithmetic gives them a tight range."""

    def fit(self, features: Iterable[Sequence[Tensor]]) -> None:
        """Learns from good parts' features, batch by batch, per tapped level N x C x H x W. Forgets what it knew."""

    def __call__(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features -> `map` N x 1 x H/8 x W/8 and `score` N."""


def load(model: Model) -> Detector:
    """The detector that `model` names, on its backbone, not fitted yet.

    Raises:
        ConfigProblem: there is no such detector.
    """
    part = choose(__package__, DETECTORS, model.detector, "model.detector")
    detector: Detector = part(backbone.load(model.blocks))
    return detector
