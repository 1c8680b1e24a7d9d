"""From good images to a fitted detector, float and int8.

    gallery   the good images, plain and spoilt
    design    where the goal leaves it open, the one that tells spoilt pictures from good ones best for what it costs
    shrink    where the design keeps only some of the channels: pruned, and taught by what it was
    float     the detector fitted to float features: what int8 is measured against
    int8      quantised as the recipe has it, fitted again to its own int8 features, and quantised for good

Why it is fitted twice, features.py tells.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import onnx

from vedette.runtime.verify import Track

from . import backbone, dataset, features, techniques
from .dataset import Split
from .design import Design
from .export import feature_names, to_onnx, with_constants_of
from .gallery import Gallery, parted
from .goal import Goal
from .techniques.distil import Distil
from .techniques.prune import Prune
from .techniques.quantise import Quantise


class Fitted(msgspec.Struct, frozen=True):
    """A detector as float and as int8 graph."""

    float_model: onnx.ModelProto
    int8_model: onnx.ModelProto


def fit(
    goal: Goal, design: Design, images: Split, gallery: Gallery, track: Track, checkpoint: Path | None = None
) -> Fitted:
    """Fits `design` to the good images of `fit`, in whole; where it is distilled, from `checkpoint` on."""
    size, spec = design.input, backbone.input_of(design.input)
    good = gallery.varied(size, goal.augment)
    shown, masks = [*good, *gallery.defective(size)], gallery.masks(size)
    recipe, network = techniques.load(goal.recipe), backbone.load(design.blocks)
    if design.kept < 1:
        narrow = Prune(design.kept)(network, track(good, "pruning"))
        distil: Distil = recipe.get("distil", Distil())
        network = distil(narrow, network, good, goal.data.seed, checkpoint, track)
    detector = design.load(network)
    detector.fit(*parted(features.of_float(detector.backbone, track(shown, "float features")), len(good)), masks)
    float_model = to_onnx(detector, size)

    quantise: Quantise = recipe.get("quantise", Quantise())
    calibration = list(dataset.tensors(images.calibrate, spec))
    ready = quantise.ready(float_model, calibration, spec, feature_names(detector), good)
    draft = quantise.integers(ready, calibration, spec, detector.bounded_outputs)
    seen = features.of_int8(draft, feature_names(detector), track(shown, "int8 features"))
    detector.fit(*parted(seen, len(good)), masks)
    refitted = msgspec.structs.replace(ready, model=with_constants_of(detector, ready.model))
    return Fitted(float_model, quantise.integers(refitted, calibration, spec, detector.bounded_outputs))
