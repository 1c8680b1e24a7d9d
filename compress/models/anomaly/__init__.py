"""Anomaly models. Each is fitted to features of good images and exported with its backbone as one graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from vedette.runtime.plugin_tables import load_plugin

from ..efficientnet_lite import Backbone
from ..image_size import ImageSize
from .image_score import MapScore

ANOMALY_MODELS = {
    "padim": ".padim:Padim",
    "student": ".student:Student",
    "patchcore": ".patchcore:PatchCore",
    "discriminative": ".discriminative:DiscriminativeHead",
    "golden": ".golden:GoldenSample",
}


class AnomalyModel(Protocol):
    """A torch module that maps the features of its backbone to an anomaly map and an image score."""

    backbone: Backbone
    reading: MapScore
    bounded_outputs: Mapping[str, float]
    """Lower bound of each output that a few layers compute from clipped values. Interval arithmetic gives a tight range
    for such an output, but it ignores that a maximum is at least as large as the mean. The bound adds this fact."""

    def fit(self, good: Sequence[Tensor], defective: Sequence[Tensor], masks: Tensor) -> None:
        """Fits the model to features, N x C x H x W per feature level. It discards an earlier fit.

        Args:
            good: features of good images
            defective: features of good images with synthetic defects
            masks: fraction of each cell of the defective images that the defect covers, N x H/8 x W/8
        """

    def assume_largest_structure(self) -> None:
        """Before any fit, takes the most expensive graph that a fit may choose, for a prediction of the cost."""

    def __call__(self, features: Sequence[Tensor], evidence: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns the anomaly map N x 1 x H/8 x W/8 and the image score N of features, N x C x H x W per level.

        Evidence for a known defect, N x 1 x 1 x 1, raises the score (known_defect_head.py).
        """


def load_anomaly_model(name: str, backbone: Backbone, size: ImageSize, rank: int | None = None) -> AnomalyModel:
    """Creates an unfitted anomaly model on all feature levels of a backbone.

    Args:
        name: a key of `ANOMALY_MODELS`
        backbone: backbone that provides the features
        size: size of the input
        rank: for PaDiM only: number of feature directions; None: all

    Raises:
        ConfigProblem: no anomaly model has this name.
    """
    model_class = load_plugin(__package__, ANOMALY_MODELS, name, "model.detector")
    model: AnomalyModel = model_class(backbone, size) if rank is None else model_class(backbone, size, rank)
    return model


def count_feature_channels(blocks: Sequence[int]) -> int:
    """Returns the total number of feature channels of these blocks."""
    return sum(Backbone(blocks).channels)
