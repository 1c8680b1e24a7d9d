"""Fits an anomaly detection design to good images: a float model and an int8 model.

    images    the good images, augmented, images with synthetic defects, and known defects
    prune     if the design keeps only a share of the channels: pruning in rounds, with distillation from the original
              backbone
    float     the detector, fitted to float features: the baseline of the int8 model
    int8      quantized with the settings of the recipe, fitted again to its own int8 features, and quantized again

If the goal leaves the design open, the search chooses the one with the best separation of defects for its cost.
models/feature_extraction.py gives the reason for the second fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from vedette.runtime.progress import Progress

from ..data import reference_images, split
from ..data.group_sample import MAX_CALIBRATION_IMAGES, sample_by_group
from ..data.image_feature_cache import ImageFeatureCache, split_good_and_defective
from ..data.split import Split
from ..goal.goal_tables import Goal
from ..goal.recipe import DistillationSettings, PruningSettings, QuantizationSettings, load_recipe
from ..graph.torch_export import export_to_onnx, feature_names, update_weights
from ..models import efficientnet_lite, feature_extraction
from ..models.anomaly.golden import limit_references
from ..models.anomaly.known_defect_head import MIN_KNOWN_DEFECTS, AnomalyModelWithKnownDefects
from ..models.design import Design
from ..models.efficientnet_lite import Backbone
from ..models.image_size import ImageSize
from ..quantization.quantize import convert, prepare
from .distillation import distill
from .float_and_int8_model import FloatAndInt8Model
from .pruning import kept_shares, prune

MAX_KNOWN_CALIBRATION_IMAGES = 40  # known defects that determine the integer ranges, with the good images
FeatureBatches = Iterator[list[Tensor]]
"""Batches of features; each batch is a list with one tensor per level."""


def fit_design(
    goal: Goal,
    design: Design,
    images: Split,
    feature_cache: ImageFeatureCache,
    progress: Progress,
    folder: Path | None = None,
) -> FloatAndInt8Model:
    """Fits `design` to all good images of the part `fit`; distillation and QAT resume from `folder`.

    With MIN_KNOWN_DEFECTS known defects or more, the model has a head for them.
    """
    size, spec = design.input, efficientnet_lite.backbone_input_spec(design.input)
    good_images = feature_cache.augmented_images(size, goal.augment)
    known_images = feature_cache.known_defects(size) if len(images.known) >= MIN_KNOWN_DEFECTS else []
    synthetic_images, masks = feature_cache.defective_images(size), feature_cache.defect_masks(size)
    fitting_images = [*good_images, *synthetic_images, *known_images]
    recipe, network = load_recipe(goal.recipe), efficientnet_lite.load_backbone(design.blocks)
    if design.kept_share < 1:
        pruning = msgspec.structs.replace(recipe.get("prune", PruningSettings()), kept_share=design.kept_share)
        distillation: DistillationSettings = recipe.get("distil", DistillationSettings())
        name = _digest(feature_cache, [design, pruning, distillation, goal.data.seed, goal.augment])
        network = _prune_and_distill(
            network, pruning, distillation, good_images, goal.data.seed, progress, folder and folder / name
        )
    anomaly_model = design.create_model(network)
    with_known = AnomalyModelWithKnownDefects(anomaly_model, size) if known_images else None
    calibrate = sample_by_group(images.calibrate, images.groups, MAX_CALIBRATION_IMAGES, goal.data.seed)
    held_out = split.model_inputs(calibrate, spec, feature_cache.inspector)
    calibration = [*(good_images if images.few else held_out), *known_images[:MAX_KNOWN_CALIBRATION_IMAGES]]
    copies = len(good_images) // len(feature_cache.fit_paths) - 1
    groups = [images.groups[path] for path in feature_cache.fit_paths for _ in range(1 + copies)]
    limit_references(
        anomaly_model, reference_images.find_candidates(feature_cache.fit_paths, images.references, copies)
    )
    has_trial_features = design.kept_share >= 1 and not copies and not known_images
    float_features = feature_cache.iterate_fit_features(size, network.taps) if has_trial_features else None

    def fit_to_features(batches: FeatureBatches) -> None:
        good, others = split_good_and_defective(batches, len(good_images))
        synthetic, known = ([level[part] for level in others] for part in _first_and_rest(len(synthetic_images)))
        if with_known is None:
            anomaly_model.fit(good, synthetic, masks)
        else:
            with_known.fit(good, synthetic, masks, known, groups)

    trained = fit_float_then_int8(
        goal,
        with_known or anomaly_model,
        size,
        fit_to_features,
        calibration,
        good_images,
        lambda label: progress(fitting_images, label),
        folder,
        float_features,
    )
    if with_known is None:
        return trained
    return msgspec.structs.replace(trained, known_corrections=with_known.known_corrections)


def _first_and_rest(count: int) -> tuple[slice, slice]:
    return slice(count), slice(count, None)


def fit_float_then_int8(
    goal: Goal,
    anomaly_model: Any,
    size: ImageSize,
    fit_to_features: Callable[[FeatureBatches], None],
    calibration: list[Any],
    good_images: list[Any],
    iterate_images: Callable[[str], Iterable[Any]],
    checkpoint_folder: Path | None,
    float_features: FeatureBatches | None = None,
) -> FloatAndInt8Model:
    """Fits an anomaly model to its float features, quantizes it, and fits it again to its int8 features.

    Args:
        goal: goal, whose recipe has the quantization settings
        anomaly_model: torch module with a backbone
        size: size of the input
        fit_to_features: fits the model to batches of features
        calibration: calibration images, 1 x height x width x 3, u8
        good_images: good images for QAT
        iterate_images: returns the images to fit the model to; its argument is the label of the progress display
        checkpoint_folder: folder from which QAT resumes; None: no checkpoint
        float_features: float features of the images to fit the model to, if they are known
    """
    spec, names = efficientnet_lite.backbone_input_spec(size), feature_names(anomaly_model)
    if float_features is None:
        images = iterate_images("float features")
        float_features = feature_extraction.extract_float_features(anomaly_model.backbone, images)
    fit_to_features(float_features)
    float_model = export_to_onnx(anomaly_model, size)
    settings: QuantizationSettings = load_recipe(goal.recipe).get("quantise", QuantizationSettings())
    prepared = prepare(settings, float_model, calibration, spec, names, good_images, checkpoint_folder)
    draft = convert(settings, prepared, calibration, spec, anomaly_model.bounded_outputs)
    fit_to_features(feature_extraction.extract_int8_features(draft, names, iterate_images("int8 features")))
    refitted = msgspec.structs.replace(prepared, model=update_weights(anomaly_model, prepared.model))
    int8_model = convert(settings, refitted, calibration, spec, anomaly_model.bounded_outputs)
    return FloatAndInt8Model(
        float_model, int8_model, update_weights(anomaly_model, prepared.float_reference), prepared.steps
    )


def _prune_and_distill(
    teacher: Backbone,
    pruning: PruningSettings,
    distillation: DistillationSettings,
    images: list[Any],
    seed: int,
    progress: Progress,
    checkpoint: Path | None,
) -> Backbone:
    """Prunes the least important channels and distills from the whole network (`teacher`), in rounds."""
    pruned = teacher
    for round_index, share in enumerate(kept_shares(pruning)):
        pruned = prune(msgspec.structs.replace(pruning, kept_share=share), pruned, progress(images, "pruning"))
        steps = (
            distillation.steps * (round_index + 1) // pruning.rounds
            - distillation.steps * round_index // pruning.rounds
        )
        round_checkpoint = checkpoint and checkpoint.with_name(f"{checkpoint.name}-{round_index}.pt")
        pruned = distill(
            msgspec.structs.replace(distillation, steps=steps),
            pruned,
            teacher,
            images,
            seed,
            round_checkpoint,
            progress,
        )
    return pruned


def _digest(feature_cache: ImageFeatureCache, settings: list[Any]) -> str:
    """Returns a digest of the images and of all settings that the distillation depends on."""
    return hashlib.sha256(msgspec.json.encode([feature_cache.trial_digest, *settings])).hexdigest()[:12]
