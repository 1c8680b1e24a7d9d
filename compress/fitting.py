"""From good images to a fitted detector, float and int8.

    spoil     some of the good images get made-up defects
    choose    where the goal leaves it open, the detector that tells such from good ones best
    float     the detector fitted to float features: what int8 is measured against
    int8      quantised, fitted again to its own int8 features, and quantised for good

What varies least decides a distance most: before a still background, int8 moves features more than good parts do. A
detector fitted to float features then takes every int8 picture for strange; fitted again, it knows that noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.runtime.verify import Track

from . import backbone, dataset, detectors, features, selection, synthetic
from .augment import vary
from .dataset import Split
from .export import feature_names, to_onnx, with_constants_of
from .goal import Goal
from .selection import Features, Trial
from .synthetic import Defects
from .techniques.quantise import Quantise

SPOILT = 240  # images with made-up defects
EACH = 24  # of one good image, at most
VARIED = 3  # variations of each good image, where the goal asks for any


class Fitted(msgspec.Struct, frozen=True):
    """A detector, float and int8, and how it was chosen."""

    float_model: onnx.ModelProto
    int8_model: onnx.ModelProto
    chosen: Trial
    trials: list[Trial]


def fit(goal: Goal, images: Split, trials: list[Trial], track: Track, say: Callable[[str], None]) -> Fitted:
    """Fits the one of `trials` that suits the images best to the good images of `fit`."""
    spec, rng = backbone.input_of(goal.model.input), np.random.default_rng(goal.data.seed)
    good = list(dataset.tensors(track(images.fit, "reading"), spec))
    some = sorted(rng.permutation(len(good))[: selection.MOST].tolist())
    spoilt = synthetic.defects([good[number] for number in some], min(SPOILT, EACH * len(some)), rng)
    trials = selection.feasible(trials, len(good))
    chosen = trials[0]
    if len(trials) > 1:
        groups = [images.groups[images.fit[number]] for number in some]
        trials = _tried(goal.model.input, trials, [good[number] for number in some], spoilt, groups, track)
        chosen = selection.best(trials)
        say(f"chose {chosen.detector} over blocks {', '.join(map(str, chosen.blocks))}")
    if goal.augment is not None:
        good += [vary(image[0], goal.augment, rng)[None] for image in good for _ in range(VARIED)]

    detector = detectors.load(chosen.detector, chosen.blocks, goal.model.input)
    masks = torch.from_numpy(spoilt.masks)
    shown = track([*good, *spoilt.images], "float features")
    seen = list(features.of_float(detector.backbone, shown))
    detector.fit(*_parted(seen, len(good)), masks)
    float_model = to_onnx(detector, goal.model.input)

    quantise = Quantise(detector.bounded_outputs)
    draft = quantise(float_model, dataset.tensors(images.calibrate, spec), spec)
    shown = track([*good, *spoilt.images], "int8 features")
    seen = list(features.of_int8(draft, feature_names(detector), shown))
    detector.fit(*_parted(seen, len(good)), masks)
    refitted = with_constants_of(detector, float_model)
    return Fitted(float_model, quantise(refitted, dataset.tensors(images.calibrate, spec), spec), chosen, trials)


def _tried(
    size: int, trials: list[Trial], good: list[NDArray[Any]], spoilt: Defects, groups: list[str], track: Track
) -> list[Trial]:
    """The trials with their figures."""
    blocks = sorted({block for trial in trials for block in trial.blocks})
    network = backbone.load(blocks)
    count = len(good)
    shown = track([*good, *spoilt.images], "features to choose by")
    levels = [torch.cat(level) for level in zip(*features.of_float(network, shown), strict=True)]
    looked_at = Features(
        good={block: level[:count] for block, level in zip(blocks, levels, strict=True)},
        spoilt={block: level[count:] for block, level in zip(blocks, levels, strict=True)},
        masks=torch.from_numpy(spoilt.masks),
        kinds=spoilt.kinds,
        sources=spoilt.sources,
    )
    return selection.tried(trials, size, looked_at, groups, track)


def _parted(batches: Sequence[Sequence[Tensor]], count: int) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """The first `count` images, and the others; as one batch each."""
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    return [[level[:count] for level in levels]], [[level[count:] for level in levels]]
