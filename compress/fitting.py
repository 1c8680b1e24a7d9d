"""From good images to a fitted detector, float and int8.

    spoil     some of the good images get made-up defects
    choose    where the goal leaves it open, the detector that tells such from good ones best
    float     the detector fitted to float features: what int8 is measured against
    int8      quantised as the recipe has it, fitted again to its own int8 features, and quantised for good

Why it is fitted twice, features.py tells. The float features serve both the choice and the fitting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import onnx
import torch
from torch import Tensor

from vedette.runtime.verify import Track

from . import backbone, dataset, detectors, features, selection, synthetic, techniques
from .augment import vary
from .dataset import Split
from .export import feature_names, to_onnx, with_constants_of
from .goal import Goal
from .selection import Features, Trial
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
    masks = torch.from_numpy(spoilt.masks)
    trials = selection.feasible(trials, len(good))
    if goal.augment is not None:
        good += [vary(image[0], goal.augment, rng)[None] for image in good for _ in range(VARIED)]

    network = backbone.load({block for trial in trials for block in trial.blocks})
    shown = track([*good, *spoilt.images], "float features")
    fine, odd = (
        dict(zip(network.taps, levels, strict=True)) for levels in _parted(features.of_float(network, shown), len(good))
    )
    if len(trials) > 1:
        groups = [images.groups[images.fit[number]] for number in some]
        looked_at = Features({block: fine[block][some] for block in fine}, odd, masks, spoilt.kinds, spoilt.sources)
        trials = selection.tried(trials, goal.model.input, looked_at, groups, track)
    chosen = selection.best(trials)
    if len(trials) > 1:
        say(f"chose {chosen}")
    detector = detectors.load(chosen.detector, chosen.blocks, goal.model.input)
    detector.fit([fine[block] for block in chosen.blocks], [odd[block] for block in chosen.blocks], masks)
    float_model = to_onnx(detector, goal.model.input)

    quantise: Quantise = techniques.load(goal.recipe).get("quantise", Quantise())
    calibration = list(dataset.tensors(images.calibrate, spec))
    ready = quantise.ready(float_model, calibration, spec, feature_names(detector), good)
    draft = quantise.integers(ready, calibration, spec, detector.bounded_outputs)
    shown = track([*good, *spoilt.images], "int8 features")
    detector.fit(*_parted(features.of_int8(draft, feature_names(detector), shown), len(good)), masks)
    refitted = msgspec.structs.replace(ready, model=with_constants_of(detector, ready.model))
    int8_model = quantise.integers(refitted, calibration, spec, detector.bounded_outputs)
    return Fitted(float_model, int8_model, chosen, trials)


def _parted(batches: Iterable[Sequence[Tensor]], count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Per level, the features of the first `count` images and those of the others."""
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    return [level[:count] for level in levels], [level[count:] for level in levels]
