"""From good images to a fitted detector, float and int8.

    gallery   the good images, plain and spoilt
    design    where the goal leaves it open, the one that tells spoilt pictures from good ones best for what it costs
    shrink    where the design keeps only some of the channels: pruned in rounds, and taught by what it was
    float     the detector fitted to float features: what int8 is measured against
    int8      quantised as the recipe has it, fitted again to its own int8 features, and quantised for good

Why it is fitted twice, features.py tells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from vedette.runtime.evaluation.verify import Track

from ..data import split
from ..data.feature_cache import Gallery, parted
from ..data.split import Split
from ..evaluation.built_models import Fitted
from ..goal import recipe as techniques
from ..goal.goal_file import Goal
from ..graph.torch_export import feature_names, to_onnx, with_constants_of
from ..models import efficientnet_lite, feature_extraction
from ..models.design import Design
from ..models.efficientnet_lite import Backbone
from ..quantization.quantize import Quantise
from .distillation import Distil
from .pruning import Prune

Batches = Iterator[list[Tensor]]
"""Features, image by image or some at a time, each a level."""


def fit(
    goal: Goal, design: Design, images: Split, gallery: Gallery, track: Track, folder: Path | None = None
) -> Fitted:
    """Fits `design` to the good images of `fit`, in whole; what is distilled or trained goes on from `folder`."""
    size, spec = design.input, efficientnet_lite.input_of(design.input)
    good = gallery.varied(size, goal.augment)
    shown, masks = [*good, *gallery.defective(size)], gallery.masks(size)
    recipe, network = techniques.load(goal.recipe), efficientnet_lite.load(design.blocks)
    if design.kept < 1:
        prune = msgspec.structs.replace(recipe.get("prune", Prune()), kept=design.kept)
        distil: Distil = recipe.get("distil", Distil())
        name = _digest(gallery, [design, prune, distil, goal.data.seed, goal.augment])
        network = _shrunk(network, prune, distil, good, goal.data.seed, track, folder and folder / name)
    detector = design.load(network)
    calibration = list(split.tensors(images.calibrate, spec))

    def learn(batches: Batches) -> None:
        detector.fit(*parted(batches, len(good)), masks)

    return twice(goal, detector, size, learn, calibration, good, lambda what: track(shown, what), folder)


def twice(
    goal: Goal,
    detector: Any,
    size: int,
    learn: Callable[[Batches], None],
    calibration: list[Any],
    good: list[Any],
    shown: Callable[[str], Iterable[Any]],
    folder: Path | None,
) -> Fitted:
    """A detector fitted to its float features, then quantised and fitted again to its int8 features.

    Args:
        goal: its recipe says how it is quantised
        detector: a module with a backbone of its own
        size: of its input
        learn: fits it to features
        calibration: images that ranges are taken from, 1 x size x size x 3, u8
        good: images that techniques may train with
        shown: images that it is fitted to, for a purpose that people are told of
        folder: where what is trained goes on from
    """
    spec, names = efficientnet_lite.input_of(size), feature_names(detector)
    learn(feature_extraction.of_float(detector.backbone, shown("float features")))
    float_model = to_onnx(detector, size)
    quantise: Quantise = techniques.load(goal.recipe).get("quantise", Quantise())
    ready = quantise.ready(float_model, calibration, spec, names, good, folder)
    draft = quantise.integers(ready, calibration, spec, detector.bounded_outputs)
    learn(feature_extraction.of_int8(draft, names, shown("int8 features")))
    refitted = msgspec.structs.replace(ready, model=with_constants_of(detector, ready.model))
    int8_model = quantise.integers(refitted, calibration, spec, detector.bounded_outputs)
    return Fitted(float_model, int8_model, with_constants_of(detector, ready.exact), ready.steps)


def _shrunk(
    whole: Backbone, prune: Prune, distil: Distil, good: list[Any], seed: int, track: Track, checkpoint: Path | None
) -> Backbone:
    """Round after round, what matters least goes, and what is left learns from the whole."""
    narrow = whole
    for number, share in enumerate(prune.shares()):
        narrow = msgspec.structs.replace(prune, kept=share)(narrow, track(good, "pruning"))
        steps = distil.steps * (number + 1) // prune.rounds - distil.steps * number // prune.rounds
        kept = checkpoint and checkpoint.with_name(f"{checkpoint.name}-{number}.pt")
        narrow = msgspec.structs.replace(distil, steps=steps)(narrow, whole, good, seed, kept, track)
    return narrow


def _digest(gallery: Gallery, how: list[Any]) -> str:
    """Of the pictures and of all that a distillation of them depends on."""
    return hashlib.sha256(msgspec.json.encode([gallery.digest, *how])).hexdigest()[:12]
