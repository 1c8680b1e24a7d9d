"""Other designs of a search on the test images, beside the chosen one: what the search gave up, and what it gained.

The comparison is made after the choice: no test image takes part in it. Both models see the same images, so the
interval of their difference is that of paired draws: each draw takes the same images for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.backends.onnx import OnnxBackend
from vedette.runtime.inference.inspector import Inspector

from ..data.split import Split
from ..goal.goal_tables import Goal
from ..training.float_and_int8_model import FloatAndInt8Model
from .anomaly_scoring import ImageScores, measure_auroc, score_images
from .built_models import draft_manifest
from .model_runners import FloatRunner, Int8Runner, ModelRunner
from .results import ComparedDesign, Measurement

DRAWS = 1000


class GoodAndDefectiveScores(NamedTuple):
    """Scores of one model for the test images."""

    good: NDArray[Any]
    defective: NDArray[Any]


class TrainedDesign(NamedTuple):
    """A design that was built whole."""

    design: msgspec.Struct
    cost: float
    """Of one image with its int8 model."""
    models: FloatAndInt8Model


def measure_designs(
    goal: Goal,
    designs: Mapping[str, TrainedDesign],
    images: Split,
    inspector: Inspector | None,
    chosen: tuple[ImageScores, ImageScores],
) -> dict[str, ComparedDesign]:
    """Built designs on the test images.

    Args:
        goal: the goal file
        designs: the designs by name; one that has two names is measured once
        images: the split; its test images are scored
        inspector: cuts what the model sees out of an image; None: the model sees the whole image
        chosen: outputs of the int8 model of the chosen design for the good and for the defective test images

    Returns:
        The figures by name.
    """
    scores = GoodAndDefectiveScores(*(each.scores for each in chosen))
    measured: dict[Any, ComparedDesign] = {}
    for trained in designs.values():
        if trained.design not in measured:
            measured[trained.design] = _measure_design(goal, trained, images, inspector, scores)
    return {name: measured[trained.design] for name, trained in designs.items()}


def _measure_design(
    goal: Goal, trained: TrainedDesign, images: Split, inspector: Inspector | None, chosen: GoodAndDefectiveScores
) -> ComparedDesign:
    models = trained.models
    manifest = draft_manifest(goal, models.int8_model)
    files = [model.SerializeToString(deterministic=True) for model in (models.float_model, models.int8_model)]
    runners: tuple[ModelRunner, ModelRunner] = (
        FloatRunner(files[0], manifest, inspector),
        Int8Runner(OnnxBackend(files[1], manifest, threads=1), manifest, inspector),
    )
    fp32, int8 = (
        GoodAndDefectiveScores(*(score_images(runner, paths).scores for paths in (images.test, images.defect)))
        for runner in runners
    )
    return ComparedDesign(
        parameters=msgspec.to_builtins(trained.design),
        cost=trained.cost,
        fp32=measure_auroc(*fp32),
        int8=measure_auroc(*int8),
        difference=auroc_difference(chosen, int8),
    )


def auroc_difference(first: GoodAndDefectiveScores, second: GoodAndDefectiveScores, seed: int = 0) -> Measurement:
    """AUROC of `first` minus that of `second` on the same images, with its 95 % interval by paired bootstrap.

    Without a value if there are no good or no defective images.
    """
    if not len(first.good) or not len(first.defective):
        return Measurement(None)
    rng = np.random.default_rng(seed)

    def difference(good: Any, defective: Any) -> float:
        return auroc(first.good[good], first.defective[defective]) - auroc(
            second.good[good], second.defective[defective]
        )

    counts = len(first.good), len(first.defective)
    draws = [difference(*(rng.integers(count, size=count) for count in counts)) for _ in range(DRAWS)]
    low, high = np.quantile(draws, (0.025, 0.975))
    return Measurement(difference(slice(None), slice(None)), (float(low), float(high)))
