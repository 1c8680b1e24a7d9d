"""Anomaly threshold from few good images, which the model was fitted to as well.

The level of the built model is its geometric mean score of new variations of its images. Other good parts score higher
than that by an excess (compress/training/cross_validation.py), whose logarithm is taken as normal. Its mean and
variance are learned from the cross-validated images, starting from what is typical of other products: the conjugate
prior of a normal distribution (Gelman et al., "Bayesian Data Analysis", 2013, section 3.3), whose prediction for a new
part is Student's t. With one image, the prior alone decides. The threshold is the score that a new good part exceeds
with the target rate, by that prediction.

This proves nothing: no image is independent of the model, the prior comes from few data sets, and scores of other
products may have another tail.
"""

from __future__ import annotations

from math import ceil, exp, inf, log, log1p, sqrt
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vedette.runtime.calibration.independent_threshold import RISK, place_between_scores
from vedette.runtime.progress import no_progress

from ..data import split
from ..data.few_images import MIN_PADIM_IMAGES, MIN_SPLIT_IMAGES
from ..data.split import Split
from ..goal.goal_tables import Goal
from ..models.design import Design
from ..models.efficientnet_lite import backbone_input_spec
from ..training.cross_validation import cross_validated_excesses, log_scores, new_variations
from .built_models import FLOAT, INT8_ONNX, BuiltModels
from .conformal_threshold import AnomalyThreshold, format_percent

_HIGH = (
    f"With fewer than {MIN_PADIM_IMAGES} images the threshold has to be high, and most defects may be missed: "
    "add images, or set it from good pictures of the device with vedette recalibrate."
)


class ExcessPrior(msgspec.Struct, frozen=True):
    """What is typical of the logarithm of the excess of a good part, before any cross-validated image."""

    mean: float
    """Of a model of one image; of n images it is smaller by the square root of n."""
    mean_weight: float
    """Number of images that the mean counts as."""
    deviation: float
    """Standard deviation between the good parts of one product."""
    deviation_weight: float
    """Degrees of freedom that the standard deviation counts as."""

    def predict(self, images: int, excesses: NDArray[Any]) -> stats.distributions.rv_frozen:
        """The distribution of the logarithm of the excess of a new part.

        Args:
            images: number of images that the model is fitted to
            excesses: logarithms of the excesses of cross-validated images, n; may be empty
        """
        typical = self.mean / sqrt(images)
        count, center = len(excesses), float(excesses.mean()) if len(excesses) else typical
        weight, freedom = self.mean_weight + count, self.deviation_weight + count
        mean = (self.mean_weight * typical + count * center) / weight
        squares = self.deviation_weight * self.deviation**2 + float(((excesses - center) ** 2).sum())
        squares += self.mean_weight * count / weight * (center - typical) ** 2
        return stats.t(freedom, mean, sqrt(squares / freedom * (1 + 1 / weight)))


PRIORS = {
    "patchcore": ExcessPrior(mean=1.2, mean_weight=4.4, deviation=0.46, deviation_weight=15.0),
    "padim": ExcessPrior(mean=1.6, mean_weight=4.0, deviation=0.25, deviation_weight=5.0),
    "golden": ExcessPrior(mean=1.2, mean_weight=0.25, deviation=0.25, deviation_weight=5.0),
}
"""By anomaly model (docs/accuracy.md, "Few images"). Of PatchCore the numbers that make the good parts of nine
development sets most likely (tests/bench/few_prior.py); of PaDiM, which other models take too, from six of them. Of a
golden sample from three: its excess differs so much between products that one image outweighs the prior."""


class FewImagesThreshold(AnomalyThreshold, frozen=True):
    """A threshold that proves no rate."""

    @property
    def statement(self) -> str:
        """What is known of the rate, in words, for the report."""
        one = self.images == 1
        fitted = "the only good image" if one else f"the {self.images} good images"
        left_out = "groups" if self.groups < self.images else "images"
        source = "variations of it" if self.groups == 1 else f"{left_out} that were left out in turn"
        expected, target = format_percent(self.expected_rate), format_percent(self.target_rate)
        return " ".join(
            (
                f"The model was fitted to {fitted}, and nothing else is there to set the threshold with.",
                f"It was set with {source}, and with the spread that is typical of other products.",
                f"The goal is that at most {target} of good parts raise an alarm.",
                f"{'One image proves' if one else f'{self.images} images prove'} no false-alarm rate: it may be any.",
                f"If good parts vary as expected, about {expected} of them raise an alarm.",
                *([] if self.images >= MIN_PADIM_IMAGES else [_HIGH]),
                f"The goal could be proven with {self.required_images} independent good images that nothing else uses.",
                f"From {MIN_SPLIT_IMAGES} good images on, a build keeps some for the threshold and states a bound.",
            )
        )


def choose_few_images_threshold(
    variations: NDArray[Any],
    excesses: NDArray[Any],
    images: int,
    groups: int,
    step: float,
    target_rate: float,
    prior: ExcessPrior,
    max_score: float = inf,
) -> FewImagesThreshold:
    """The threshold that a new good part exceeds with the target rate, as far as few images tell.

    Args:
        variations: scores of new variations of the images, in the unit of the threshold
        excesses: logarithms from `cross_validated_excesses`
        images: number of good images
        groups: number of their groups
        step: smallest difference between two scores; the threshold lies half a step above a multiple of it
        target_rate: share of good parts that may raise an alarm
        prior: what is typical of the anomaly model
        max_score: highest possible score; the threshold stays below it
    """
    level = float(log_scores(np.maximum(variations, step)).mean())
    prediction = prior.predict(images, excesses)
    score = place_between_scores(min(exp(level + float(prediction.isf(target_rate))), max_score - step), step)
    return FewImagesThreshold(
        score=score,
        target_rate=target_rate,
        expected_rate=float(prediction.sf(log(score) - level)),
        rate_bound=1.0,
        risk=RISK,
        rate_interval=(0.0, 1.0),
        images=images,
        groups=groups,
        effective_sample_size=0.0,
        required_images=ceil(log(RISK) / log1p(-target_rate)),
        method="few images",
    )


def choose_thresholds(
    goal: Goal, design: Design, models: BuiltModels, images: Split, target_rate: float
) -> tuple[FewImagesThreshold, FewImagesThreshold]:
    """The thresholds of the float and of the int8 models.

    Args:
        goal: the goal file
        design: the design of the models
        models: the built models
        images: the split, with few images
        target_rate: share of good parts that may raise an alarm
    """
    prior = PRIORS.get(design.anomaly_model, PRIORS["padim"])
    excesses = cross_validated_excesses(design, images, goal.augment, goal.data.seed, no_progress, models.inspector)
    good = list(split.model_inputs(images.fit, backbone_input_spec(design.input), models.inspector))
    varied = new_variations(good, goal.augment)
    score, groups = models.manifest.output("score"), len({images.groups[path] for path in images.fit})

    def choose(model: str, max_score: float) -> FewImagesThreshold:
        scores = np.array([float(models.runners[model].run_input(image)["score"].ravel()[0]) for image in varied])
        return choose_few_images_threshold(
            scores, excesses, len(good), groups, score.scale, target_rate, prior, max_score
        )

    return choose(FLOAT, inf), choose(INT8_ONNX, score.highest)
