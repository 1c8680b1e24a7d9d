"""Anomaly models: each is fitted to the features of good images and is exported with its backbone as one graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from vedette.runtime.plugin_tables import load_plugin

from ..efficientnet_lite import Backbone

ANOMALY_MODELS = {
    "padim": ".padim:Padim",
    "patchcore": ".patchcore:PatchCore",
    "discriminative": ".discriminative:DiscriminativeHead",
}


class AnomalyModel(Protocol):
    """A torch module that maps the features of its backbone to an anomaly map and a score."""

    backbone: Backbone
    bounded_outputs: Mapping[str, float]
    """Lower bound of each output that a few layers compute from clipped values. For such outputs interval arithmetic
    gives a tight range, but it does not know that a maximum is at least as large as the mean; the bound adds that."""

    def fit(self, good: Sequence[Tensor], defective: Sequence[Tensor], masks: Tensor) -> None:
        """Fits the model to features, N x C x H x W per tapped level, and discards any earlier fit.

        Args:
            good: features of good images
            defective: features of good images with synthetic defects
            masks: N x H/8 x W/8, the fraction of each cell of the defective images that the defect covers
        """

    def __call__(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Computes `map` N x 1 x H/8 x W/8 and `score` N from features, N x C x H x W per tapped level."""


def load_anomaly_model(name: str, backbone: Backbone, size: int, rank: int | None = None) -> AnomalyModel:
    """Creates an anomaly model on all tapped levels of a backbone, not fitted yet.

    Args:
        name: a key of `ANOMALY_MODELS`
        backbone: the backbone whose features it uses
        size: side of the square input in pixels
        rank: for PaDiM only: the number of feature directions to use; None: all

    Raises:
        ConfigProblem: no anomaly model has this name.
    """
    model_class = load_plugin(__package__, ANOMALY_MODELS, name, "model.detector")
    model: AnomalyModel = model_class(backbone, size) if rank is None else model_class(backbone, size, rank)
    return model


def count_feature_channels(blocks: Sequence[int]) -> int:
    """The number of feature channels of these blocks together."""
    return sum(Backbone(blocks).channels)
