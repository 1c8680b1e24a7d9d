"""Designs of anomaly models, fitted to made-up parts in seconds and built as int8 ONNX and TFLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vedette.compress.data import synthetic_defects
from vedette.compress.evaluation.built_models import BuiltModels
from vedette.compress.goal.goal_tables import DataSettings, Goal, ModelTable
from vedette.compress.goal.recipe import PruningSettings, QuantizationSettings
from vedette.compress.graph.torch_export import export_to_onnx
from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.anomaly import discriminative
from vedette.compress.models.design import Design
from vedette.compress.quantization.quantize import quantize
from vedette.compress.training.pruning import prune

_GOOD, _DEFECTIVE = 12, 6
_TRAINING_STEPS = 20  # the integers matter here, not how good the model is


@contextmanager
def few_training_steps(steps: int = _TRAINING_STEPS) -> Iterator[None]:
    """The discriminative model is trained in few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discriminative, "TRAINING_STEPS", steps)
        yield


def plate(rng: np.random.Generator, size: int, spacing: float = 12.0, noise: float = 3.0) -> NDArray[Any]:
    """A plate with a grid under slightly varying light: 1 x size x size x 3, u8."""
    down, right = np.mgrid[:size, :size]
    grid = 40 * ((down // spacing + right // spacing) % 2)
    picture = 120 + grid + rng.normal(0, 6) + rng.normal(0, noise, (size, size))
    return np.repeat(picture.clip(0, 255)[..., None], 3, axis=2).astype(np.uint8)[None]


def unusual_images(rng: np.random.Generator, size: int) -> list[NDArray[Any]]:
    """Black, white and noise: inputs at the ends of every range."""
    shape = (1, size, size, 3)
    return [np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), rng.integers(0, 256, shape, np.uint8)]


def build_design(design: Design, seed: int = 0) -> tuple[BuiltModels, list[NDArray[Any]]]:
    """The models of a design that was fitted to random plates, and images to run them on."""
    rng, size = np.random.default_rng(seed), design.input
    spacing, noise = rng.uniform(6, 24), rng.uniform(1, 12)
    good = [plate(rng, size, spacing, noise) for _ in range(_GOOD)]
    defective = synthetic_defects.make_defects(good, _DEFECTIVE, rng)
    network = efficientnet_lite.load_backbone(design.blocks)
    if design.kept_share < 1:
        network = prune(PruningSettings(kept_share=design.kept_share), network, good)
    model = design.create_model(network)
    batches = list(feature_extraction.extract_float_features(network, [*good, *defective.images]))
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    with few_training_steps():
        parts = [level[:_GOOD] for level in levels], [level[_GOOD:] for level in levels]
        model.fit(*parts, torch.from_numpy(defective.masks))
    float_model = export_to_onnx(model, size)
    spec = efficientnet_lite.backbone_input_spec(size)
    int8_model = quantize(QuantizationSettings(), float_model, good, spec, model.bounded_outputs)
    goal = Goal(name="plate", task="anomaly", data=DataSettings(good="."), model=ModelTable(input=size))
    models = BuiltModels(goal, float_model, int8_model)
    return models, [*good[:4], *defective.images, *unusual_images(rng, size)]
