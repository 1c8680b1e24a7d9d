"""What is fitted to the images: a network and a way of telling normal from not, as one graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor

from vedette.runtime.parts import choose

from .. import backbone
from ..goal import Model

DETECTORS = {"padim": ".padim:Padim"}


class Detector(Protocol):
    """A torch module: N x 3 x H x W, normalised -> `map` N x 1 x H/8 x W/8 and `score` N."""

    bounded_outputs: tuple[str, ...]
    """Outputs that follow from clipped values by a few layers, so that interval arithmetic gives them a tight range."""

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Learns from batches of N x 3 x H x W, normalised, of good parts."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]: ...


def load(model: Model) -> Detector:
    """The detector that `model` names, on its backbone, not fitted yet.

    Raises:
        ConfigProblem: there is no such detector.
    """
    part = choose(__package__, DETECTORS, model.detector, "model.detector")
    detector: Detector = part(backbone.load(model.blocks))
    return detector
