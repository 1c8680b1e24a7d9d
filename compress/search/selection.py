"""Choice of a design: cross-validated trials on good images and synthetic defects, and the Pareto front of the trials.

No anomaly model is best for all parts. If each part lies in the same position, a model per position is best (PaDiM); if
parts lie anywhere, a model of features at any position is best (PatchCore). So each design is fitted to some of the
good images and must separate the others from images with synthetic defects. Its figure is the mean AUROC over
FOLD_COUNT folds. Trials within EQUIVALENCE_MARGIN of the best count as equal, and the cheapest of them is chosen.
Groups of images stay whole.

A model that is fitted to synthetic defects learns how they are made. So the kinds of defect are split too: a fold is
judged by kinds of defect that the model was not fitted to. That is not enough to compare it with others, because all
synthetic defects have something in common: on solar cells, cookies, toy figures and ball screws, a discriminative head
separated synthetic defects from good parts better than the other models by 0.02 to 0.09, and real defects no better, or
worse by up to 0.17. So `auto` does not try it.

Known defects, if the goal names any, are real, and no model is fitted to them. Their AUROC counts with the weight of
their number, that of the synthetic defects with the weight of SYNTHETIC_WEIGHT known ones.

Trials use float features, which are computed once. Synthetic defects are not the defects of production: they serve only
to choose a design, and no figure of the report comes from them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from vedette.devices import DeviceProfile
from vedette.runtime.evaluation.metrics import auroc

from ..cost import cost_limits
from ..cost.cost_limits import CostLimits
from ..cost.design_cost import estimate_design_cost
from ..data.image_feature_cache import GoodAndDefectiveFeatures, ImageFeatureCache
from ..goal.goal_tables import ModelTable
from ..models import design, efficientnet_lite
from ..models.anomaly.known_defect_head import assign_folds
from ..models.design import Design

FOLD_COUNT = 3
EQUIVALENCE_MARGIN = 0.01
FINALIST_COUNT = 3
# Known defects that outweigh the synthetic ones by as much as they do them; docs/accuracy-experiments.md has it.
SYNTHETIC_WEIGHT = 10.0


class KnownDefectsAuroc(msgspec.Struct, frozen=True):
    """AUROC of unseen good images against known defects."""

    auroc: float
    images: int
    """Number of known defects."""


class FoldScores(NamedTuple):
    """Scores of the images of a fold, each N."""

    good: NDArray[np.float32]
    """Good images that the model was not fitted to."""
    synthetic: NDArray[np.float32]
    """Copies of them with synthetic defects."""
    known: NDArray[np.float32]
    """Known defects: no model is fitted to any of them."""


class TrialFigures(NamedTuple):
    """What a trial measures."""

    auroc: float
    """AUROC of unseen good images against synthetic defects."""
    known: KnownDefectsAuroc | msgspec.UnsetType


class Trial(msgspec.Struct, frozen=True):
    """A design with its predicted cost and its AUROC."""

    design: Design
    macs: int
    """Multiply-accumulates of the anomaly model and its backbone for one image."""
    cost: float = msgspec.field(name="effort")
    """Cost of one image on the device, in the unit of `cost_limits.predict_instructions_or_macs`."""
    bytes: int
    """Approximate size of the int8 file."""
    auroc: float | None = None
    """AUROC of unseen good images against synthetic defects; None if the goal leaves only one design."""
    known: KnownDefectsAuroc | msgspec.UnsetType = msgspec.UNSET
    """The same against known defects; unset without any."""
    left_out: str | msgspec.UnsetType = msgspec.UNSET
    """Of a finalist: why it cannot be chosen: its two int8 files differ, or one does not load; unset: it can."""

    @classmethod
    def for_design(cls, design: Design, device: DeviceProfile, auroc: float | None = None) -> Trial:
        """A trial of `design` with its cost on `device`, which does not require a fitted model."""
        cost = estimate_design_cost(design)
        return cls(design, cost.macs, cost_limits.predict_instructions_or_macs(cost, device), cost.bytes, auroc)

    def limit_excess(self, limits: CostLimits) -> float:
        """The largest relative excess over a limit; 0 or less if the design is within all limits."""
        pairs = ((self.cost, limits.cost), (self.bytes, limits.bytes))
        return max((value / limit - 1 for value, limit in pairs if limit is not None), default=-1.0)


def list_default_trials(model: ModelTable, images: int, device: DeviceProfile) -> list[Trial]:
    """The trials without a search, the cheapest first.

    Args:
        model: the `[model]` table of the goal, which fixes some choices
        images: number of good images, which some designs need many of
        device: the target device
    """
    trials = [Trial.for_design(candidate, device) for candidate in design.default_designs(model, images)]
    return sorted(trials, key=lambda trial: trial.cost)


def evaluate_trials(trials: Iterable[Trial], feature_cache: ImageFeatureCache) -> list[Trial]:
    """The trials, each with its cross-validated AUROC, the cheapest first."""
    return sorted((evaluate_trial(trial, feature_cache) for trial in trials), key=lambda trial: trial.cost)


def evaluate_trial(trial: Trial, feature_cache: ImageFeatureCache) -> Trial:
    """The trial with its cross-validated figures."""
    if trial.design not in feature_cache.figures:
        features = feature_cache.extract_features(trial.design.input)
        feature_cache.figures[trial.design] = cross_validate(trial.design, features, feature_cache.groups)
    figures: TrialFigures = feature_cache.figures[trial.design]
    return msgspec.structs.replace(trial, auroc=figures.auroc, known=figures.known)


def cross_validate(design: Design, features: GoodAndDefectiveFeatures, groups: Sequence[Hashable]) -> TrialFigures:
    """Mean AUROC of unseen good images against images with synthetic defects and against known ones, over all folds.

    Args:
        design: the design
        features: features of all its blocks, at its input size
        groups: group of each good image
    """
    scores = score_folds(design, features, groups)
    known: KnownDefectsAuroc | msgspec.UnsetType = msgspec.UNSET
    if features.known:
        mean = float(np.mean([auroc(each.good, each.known) for each in scores]))
        known = KnownDefectsAuroc(mean, len(scores[0].known))
    return TrialFigures(float(np.mean([auroc(each.good, each.synthetic) for each in scores])), known)


def score_folds(design: Design, features: GoodAndDefectiveFeatures, groups: Sequence[Hashable]) -> list[FoldScores]:
    """The scores of each fold, by a model that was fitted to the other folds; arguments as of `cross_validate`."""
    folds = assign_folds(groups, FOLD_COUNT)
    return [_score_fold(design, features, folds, fold) for fold in range(folds.max() + 1)]


def utility(trial: Trial) -> float:
    """AUROC of a trial against synthetic defects; with known defects, the weighted mean with their AUROC."""
    synthetic = trial.auroc or 0.0
    if isinstance(trial.known, msgspec.UnsetType):
        return synthetic
    weight = trial.known.images / (trial.known.images + SYNTHETIC_WEIGHT)
    return weight * trial.known.auroc + (1 - weight) * synthetic


NO_LIMITS = CostLimits()


def choose_cheapest_near_best(trials: list[Trial], limits: CostLimits = NO_LIMITS) -> Trial:
    """The cheapest trial within EQUIVALENCE_MARGIN of the best one that meets the limits.

    If no trial meets the limits, the one with the smallest excess.
    """
    within_limits = [trial for trial in trials if trial.limit_excess(limits) <= 0]
    if not within_limits:
        return min(trials, key=lambda trial: trial.limit_excess(limits))
    required = max(map(utility, within_limits)) - EQUIVALENCE_MARGIN
    return min((trial for trial in within_limits if utility(trial) >= required), key=lambda trial: trial.cost)


def pareto_front(trials: list[Trial]) -> list[Trial]:
    """Trials that no other trial dominates in utility, cost and bytes, the cheapest first."""

    def dominates(trial: Trial, other: Trial) -> bool:
        pairs = ((-utility(trial), -utility(other)), (trial.cost, other.cost), (trial.bytes, other.bytes))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    front = [trial for trial in trials if not any(dominates(other, trial) for other in trials)]
    return sorted(front, key=lambda trial: trial.cost)


def first_pareto_trials(trials: list[Trial], limits: CostLimits, count: int = FINALIST_COUNT) -> list[Trial]:
    """The first `count` trials of the Pareto front in the order in which `choose_cheapest_near_best` chooses them."""
    remaining = pareto_front(trials)
    chosen: list[Trial] = []
    while remaining and len(chosen) < count:
        chosen.append(choose_cheapest_near_best(remaining, limits))
        remaining = [trial for trial in remaining if trial is not chosen[-1]]
    return chosen


def _score_fold(
    design: Design, features: GoodAndDefectiveFeatures, folds: np.ndarray[tuple[int], np.dtype[np.int64]], fold: int
) -> FoldScores:
    good_test = torch.from_numpy(folds == fold)
    source_in_test = torch.from_numpy(folds[list(features.sources)] == fold)
    kinds = sorted(set(features.kinds))
    kind_in_test = torch.tensor([(kinds.index(kind) + fold) % 2 == 0 for kind in features.kinds])

    model = design.create_model(efficientnet_lite.load_backbone(design.blocks))
    defective_fit, defective_test = ~source_in_test & ~kind_in_test, source_in_test & kind_in_test
    model.fit(
        [features.good[block][~good_test].float() for block in design.blocks],
        [features.defective[block][defective_fit].float() for block in design.blocks],
        features.masks[defective_fit],
    )
    with torch.inference_mode():
        good = model([features.good[block][good_test].float() for block in design.blocks])[1]
        defective = model([features.defective[block][defective_test].float() for block in design.blocks])[1]
        known = model([features.known[block].float() for block in design.blocks])[1] if features.known else good[:0]
    return FoldScores(good.numpy(), defective.numpy(), known.numpy())
