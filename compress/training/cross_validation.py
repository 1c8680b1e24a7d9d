"""Cross-validated scores of few good images: each is scored by a model that was fitted to the others.

A score has the unit of its model, and each fit has another one. So a score is given relative to the model's own level:
the scores of new variations of the images that it was fitted to. This quotient, the excess, says how much more unusual
another good part is than another picture of a known part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.progress import Progress

from ..data import few_images, reference_images
from ..data.augmentation import augment_image
from ..data.image_feature_cache import ImageFeatureCache, split_good_and_defective
from ..data.split import Split
from ..goal.augmentation_settings import AugmentationSettings
from ..models import efficientnet_lite, feature_extraction
from ..models.anomaly.golden import limit_references
from ..models.design import Design

MAX_FOLDS = 8
VARIATIONS = 3  # new variations of each image
_SEED = 1  # of the new variations


def new_variations(images: list[NDArray[Any]], settings: AugmentationSettings | None) -> list[NDArray[Any]]:
    """Variations of images that no model was fitted to, image by image.

    Args:
        images: good images of 1 x H x W x 3, uint8
        settings: the table `[augment]` of the goal, if it has one
    """
    rng = np.random.default_rng(_SEED)
    settings = settings or few_images.AUGMENTATION
    return [augment_image(image[0], settings, rng)[None] for image in images for _ in range(VARIATIONS)]


def cross_validated_excesses(
    design: Design,
    split: Split,
    settings: AugmentationSettings | None,
    seed: int,
    progress: Progress,
    inspector: Inspector | None = None,
) -> NDArray[Any]:
    """The excess of each good image over the level of a model that was fitted to the other images.

    Groups stay whole. The models are float and unpruned.

    Args:
        design: the design of the models
        split: its part `fit` has the images
        settings: the table `[augment]` of the goal, if it has one
        seed: seed of the synthetic defects, which some models are fitted to
        progress: shows the progress of long loops
        inspector: cuts what the model sees out of an image; None: the model sees the whole image

    Returns:
        Natural logarithms of the quotients, n; empty if all images are of one group.
    """
    folds = _assign_folds([split.groups[path] for path in split.fit])
    if folds.max() == 0:
        return np.zeros(0)
    cache = ImageFeatureCache(split, design.input, design.blocks, seed, progress, inspector)
    images = cache.good_images(design.input)
    good = cache.augmented_images(design.input, settings)
    copies = len(good) // len(images) - 1
    source = np.repeat(np.arange(len(images)), 1 + copies)
    originals = torch.arange(len(images)) * (1 + copies)
    varied = new_variations(images, settings)
    varied_source = np.repeat(np.arange(len(images)), VARIATIONS)
    network = efficientnet_lite.load_backbone(design.blocks)
    batches = feature_extraction.extract_float_features(
        network, progress([*good, *varied, *cache.defective_images(design.input)], "cross-validation")
    )
    features, defective = split_good_and_defective(batches, len(good) + len(varied))
    masks, defect_source = cache.defect_masks(design.input), np.array(cache.defects.sources)

    logarithms = np.zeros(len(images))
    for fold in range(folds.max() + 1):
        model = design.create_model(network)
        fitted, drawn = (torch.from_numpy(folds[each] != fold) for each in (source, defect_source))
        left = [path for path, its_fold in zip(split.fit, folds, strict=True) if its_fold != fold]
        limit_references(model, reference_images.find_candidates(left, split.references, copies))
        model.fit(
            [level[: len(good)][fitted] for level in features], [level[drawn] for level in defective], masks[drawn]
        )
        known = torch.from_numpy(folds[varied_source] != fold)
        with torch.inference_mode():
            levels = model([level[len(good) :][known] for level in features])[1]
            scores = model([level[originals[torch.from_numpy(folds == fold)]] for level in features])[1]
        logarithms[folds == fold] = log_scores(scores.numpy()) - log_scores(levels.numpy()).mean()
    return logarithms


def log_scores(scores: NDArray[Any]) -> NDArray[Any]:
    """Natural logarithms of scores; a score of 0 counts as very small."""
    return np.asarray(np.log(np.maximum(scores, 1e-6)))


def _assign_folds(groups: list[str]) -> NDArray[np.int64]:
    """The fold of each image: groups in turn."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] % MAX_FOLDS for group in groups])
