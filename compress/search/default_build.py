"""The build that a user gets without a search, as the yardstick of a search.

A search is worth its time only if its design is about as accurate as the default design and costs less. So the default
design is always among the trials and the finalists, and the choice is the cheapest design that is expected to lose at
most MAX_LOSS of the AUROC on real defects against it. What synthetic defects say about real ones depends on the reason:

    a smaller input      small defects vanish, and real ones may be larger: SIZE_WEIGHT of the loss counts, and
                         HALVING_LOSS for each halving, because with few images chance hides the loss
    at the same input    the defects are the same: the loss counts, beyond what chance makes of equal designs
    fewer channels       all of the loss counts
    fewer stages         real defects lose STAGE_LOSS more for each stage of the backbone that is left out, and
                         EARLY_STAGE_LOSS for that of block 4 and earlier ones

So a search makes the input smaller only as far as the limits ask: how large the defects of a product are is not in its
good images. docs/accuracy.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from vedette.devices import DeviceProfile

from ..cost.cost_limits import CostLimits
from ..data.image_feature_cache import ImageFeatureCache
from ..goal.goal_tables import Goal
from ..goal.recipe import PruningSettings, load_recipe
from ..models.design import Design
from ..models.efficientnet_lite import stage_of_block
from ..models.image_size import ImageSize, count_pixels
from . import selection
from .selection import Trial

KEY, MOST_ACCURATE_KEY = "default_build", "most_accurate"  # keys of `measured`
MAX_LOSS = 0.005  # AUROC
SIZE_WEIGHT = 0.5
HALVING_LOSS = 0.02
STAGE_LOSS = 0.01
EARLY_STAGE_LOSS = 0.03
LAST_EARLY_STAGE = stage_of_block(4)
LIMITED_MARGIN = 0.002  # AUROC above the smallest expected loss, if the limits allow no design within MAX_LOSS
NEXT_COST = 1.1  # each design that is tried next costs so many times the last one


def evaluate_missing(wanted: Sequence[Trial], trials: Sequence[Trial], feature_cache: ImageFeatureCache) -> list[Trial]:
    """The wanted trials whose designs no other trial has, with their figures.

    Args:
        wanted: trials without figures
        trials: trials of the study
        feature_cache: features of the images
    """
    known = {trial.design for trial in trials}
    return selection.evaluate_trials((trial for trial in wanted if trial.design not in known), feature_cache)


def scale_design(design: Design, sizes: Iterable[ImageSize], device: DeviceProfile) -> list[Trial]:
    """Trials of a design at other input sizes, the largest first."""
    largest_first = sorted(sizes, key=count_pixels, reverse=True)
    return [Trial.for_design(msgspec.structs.replace(design, input=size), device) for size in largest_first]


def choose_default(defaults: Sequence[Trial], goal: Goal, device: DeviceProfile) -> Trial:
    """The trial that a build without a search chooses, with the share of the channels that the recipe keeps.

    Args:
        defaults: the trials of a build without a search
        goal: the goal file
        device: the target device
    """
    chosen = selection.choose_cheapest_near_best(list(defaults))
    prune: PruningSettings | None = load_recipe(goal.recipe).get("prune")
    if prune is None:
        return chosen
    design = msgspec.structs.replace(chosen.design, kept_share=prune.kept_share)
    return Trial.for_design(design, device, chosen.auroc)


class ExpectedLosses:
    """AUROC that designs are expected to lose on real defects against the default design.

    Args:
        trials: trials with their AUROC, the default design among them
        default: design of a build without a search, unpruned
    """

    def __init__(self, trials: Sequence[Trial], default: Design) -> None:
        self.utilities = {trial.design: selection.utility(trial) for trial in trials}
        self.default = default

    def of_design(self, design: Design) -> float:
        """The expected loss of an unpruned design by the trials."""
        size_loss = self.utilities[self.default] - self._default_utility(design.input)
        return self.by_size(design, size_loss) + self.at_same_size(design)

    def by_size(self, design: Design, loss: float) -> float:
        """The expected loss by the input size of a design that loses `loss` of the AUROC on synthetic defects."""
        halvings = math.log2(count_pixels(self.default.input) / count_pixels(design.input)) / 2
        return HALVING_LOSS * halvings + SIZE_WEIGHT * max(0.0, loss)

    def at_same_size(self, design: Design) -> float:
        """The expected loss of an unpruned design against the default design at the same input size."""
        left_out = range(stage_of_block(design.blocks[-1]) + 1, stage_of_block(self.default.blocks[-1]) + 1)
        stage_losses = [STAGE_LOSS if stage > LAST_EARLY_STAGE else EARLY_STAGE_LOSS for stage in left_out]
        difference = self._default_utility(design.input) - self.utilities[design]
        return max(0.0, difference - selection.EQUIVALENCE_MARGIN) + sum(stage_losses)

    def _default_utility(self, size: ImageSize) -> float:
        """The utility of the default design at an input size; if it was not tried there, at its own."""
        scaled = msgspec.structs.replace(self.default, input=size)
        return self.utilities.get(scaled, self.utilities[self.default])


def choose_cheapest(losses: dict[Trial, float], limits: CostLimits) -> Trial:
    """The cheapest trial within the limits and MAX_LOSS; else of those with about the smallest loss or excess.

    Args:
        losses: trials and their expected losses, at least one
        limits: what a design may cost
    """
    within = {trial: loss for trial, loss in losses.items() if trial.limit_excess(limits) <= 0}
    if not within:
        return min(losses, key=lambda trial: trial.limit_excess(limits))
    allowed = max(MAX_LOSS, min(within.values()) + LIMITED_MARGIN)
    return min((trial for trial, loss in within.items() if loss <= allowed), key=lambda trial: trial.cost)
