"""A head that learns from known defects and can only raise the score of an anomaly model.

    pool      per feature level: each channel standardized and clipped, then its mean and its maximum over the image
    evidence  logistic regression on these moments, in standard deviations of unseen good images, beyond EVIDENCE_OFFSET
              of them, clipped at 0 and EVIDENCE_LIMIT
    score     score of the anomaly model plus the evidence times the standard deviation of the score of unseen good
              images

An unknown kind of defect has no evidence and keeps the score of the anomaly model, and few good images have any. A
weight that may also lower scores detects known kinds a little better and loses unknown ones:
docs/accuracy-experiments.md has the figures, and those of the other forms.

Unseen good images come from cross-validation: the logistic regression leaves out one of FOLDS folds of the groups, the
anomaly model one half of them. So the evidence is as strong as it is for images that were not learned from.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from ..classifier_head import FEATURE_LIMIT, GlobalMeanPool
from ..efficientnet_lite import Backbone
from ..image_size import ImageSize, count_cells
from . import AnomalyModel
from .location_clusters import Grid

MIN_KNOWN_DEFECTS = 5  # with fewer the head is not fitted
EVIDENCE_OFFSET, EVIDENCE_LIMIT = 1.0, 8.0  # standard deviations of unseen good images
FOLDS = 4
_MOMENT_LIMIT = 6.0  # standard deviations of a pooled moment over good images
_INVERSE_REGULARIZATION = 1.0  # C, for moments divided by the square root of their number
_STD_FLOOR = 0.1  # of the median standard deviation of the moments
_MIN_STD = 1e-3
_BATCH = 32


class _LevelMoments(nn.Module):
    """Mean and maximum of each channel of a level: N x C x H x W -> two tensors of N x C x 1 x 1."""

    def __init__(self, channels: int, size: Grid) -> None:
        super().__init__()
        self.size = size
        self.unit = nn.Conv2d(channels, channels, 1, groups=channels)
        self.mean = GlobalMeanPool(channels, size)
        self.highest = GlobalMeanPool(channels, (1, 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        deviation = self.unit(features).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
        return self.mean(deviation), self.highest(functional.max_pool2d(deviation, self.size))


class KnownDefectEvidence(nn.Module):
    """Features, N x C x H x W per level -> evidence for a known defect, N x 1 x 1 x 1, 0 to EVIDENCE_LIMIT."""

    def __init__(self, backbone: Backbone, size: ImageSize) -> None:
        super().__init__()
        self.shapes = [
            (channels, count_cells(size, stride))
            for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
        ]
        self._create_layers()

    def _create_layers(self) -> None:
        self.levels = nn.ModuleList(_LevelMoments(*shape) for shape in self.shapes)
        self.judge = nn.Conv2d(2 * sum(channels for channels, _ in self.shapes), 1, 1)
        self.requires_grad_(False)

    def pool(self, features: Sequence[Tensor]) -> Tensor:
        """The clipped moments of all levels, N x width x 1 x 1."""
        moments = [moment for level, maps in zip(self.levels, features, strict=True) for moment in level(maps)]
        return torch.cat([moment.clamp(-_MOMENT_LIMIT, _MOMENT_LIMIT) for moment in moments], dim=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        evidence: Tensor = self.judge(self.pool(features)).clamp(0.0, EVIDENCE_LIMIT)
        return evidence

    def fit(
        self, good: Sequence[Tensor], known: Sequence[Tensor], groups: Sequence[Hashable]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fits the logistic regression.

        Args:
            good: features of good images
            known: features of images of known defects
            groups: group of each good image

        Returns:
            the evidence for each known defect: by the fitted regression, and by one that did not see the defect
        """
        self._create_layers()
        self._set_statistics(good)
        unseen, seen = (self._pool_all(part) / np.sqrt(self.judge.in_channels) for part in (known, good))
        folds = _at_least_two_folds(groups, FOLDS)
        known_folds = np.arange(len(unseen)) % (folds.max() + 1)
        weight = _fit_logistic(seen, unseen)
        good_values, known_values = np.zeros(len(seen)), np.zeros(len(unseen))
        for fold in range(folds.max() + 1):
            held_out = _fit_logistic(seen[folds != fold], unseen[known_folds != fold])
            good_values[folds == fold] = seen[folds == fold] @ held_out
            known_values[known_folds == fold] = unseen[known_folds == fold] @ held_out
        mean, std = good_values.mean(), max(float(good_values.std()), 1e-6)
        offset = -mean / std - EVIDENCE_OFFSET
        scaled = weight / std / np.sqrt(self.judge.in_channels)
        self.judge.weight.copy_(torch.from_numpy(scaled).float()[None, :, None, None])
        assert self.judge.bias is not None
        self.judge.bias.fill_(float(offset))
        fitted, cross_validated = (
            np.clip(values / std + offset, 0, EVIDENCE_LIMIT) for values in (unseen @ weight, known_values)
        )
        return fitted, cross_validated

    def _set_statistics(self, good: Sequence[Tensor]) -> None:
        """Standardizes channels over all locations, then moments over images."""
        for level, features in zip(self.levels, good, strict=True):
            assert isinstance(level, _LevelMoments)
            std, mean = torch.std_mean(features.double(), dim=(0, 2, 3))
            std = std.clamp(min=_MIN_STD)
            assert level.unit.bias is not None
            level.unit.weight.copy_((1 / std).float()[:, None, None, None])
            level.unit.bias.copy_((-mean / std).float())
        moments = [
            torch.cat([level(part)[number] for part in torch.split(features, _BATCH)])
            for level, features in zip(self.levels, good, strict=True)
            for number in (0, 1)
        ]
        stds = [moment.std(dim=0, correction=0).flatten() for moment in moments]
        floor = _STD_FLOOR * torch.cat(stds).median()
        pools = [pool for level in self.levels for pool in level.children() if isinstance(pool, GlobalMeanPool)]
        for pool, moment, std in zip(pools, moments, stds, strict=True):
            scale = (std + floor).clamp(min=_MIN_STD)
            pool.weight /= scale[:, None, None, None]
            assert pool.bias is not None
            pool.bias.copy_(-moment.mean(dim=0).flatten() / scale)

    def _pool_all(self, features: Sequence[Tensor]) -> NDArray[np.float64]:
        batches = zip(*(torch.split(level, _BATCH) for level in features), strict=True)
        return np.concatenate([self.pool(batch).flatten(1).double().numpy() for batch in batches])


class AnomalyModelWithKnownDefects(nn.Module):
    """An anomaly model whose score a `KnownDefectEvidence` raises; its map stays.

    Args:
        model: an unfitted anomaly model
        size: size of the input
    """

    def __init__(self, model: AnomalyModel, size: ImageSize) -> None:
        super().__init__()
        self.bounded_outputs: Mapping[str, float] = model.bounded_outputs
        self.has_location_parameters = getattr(model, "has_location_parameters", False)
        self.model = model
        self.evidence = KnownDefectEvidence(model.backbone, size)
        self.rescale = nn.Conv2d(1, 1, 1, bias=False).requires_grad_(False)
        nn.init.constant_(self.rescale.weight, model.reading.limit / EVIDENCE_LIMIT)
        model.reading.set_evidence_weight(0.0)
        self.known_corrections: tuple[float, ...] = ()
        """By known defect: how much its score must change to be that of a model that did not see it."""

    @property
    def backbone(self) -> Backbone:
        """The backbone of the anomaly model, a submodule of that one alone."""
        return self.model.backbone

    def assume_largest_structure(self) -> None:
        """Of the anomaly model: the head has one structure."""
        self.model.assume_largest_structure()

    @torch.no_grad()
    def fit(
        self,
        good: Sequence[Tensor],
        defective: Sequence[Tensor],
        masks: Tensor,
        known: Sequence[Tensor],
        groups: Sequence[Hashable],
    ) -> None:
        """Fits the anomaly model, then the evidence, to features, N x C x H x W per level.

        Args:
            good: features of good images
            defective: features of good images with synthetic defects
            masks: see `AnomalyModel.fit`
            known: features of images of known defects, at least MIN_KNOWN_DEFECTS
            groups: group of each good image
        """
        spread = score_spread(self.model, good, defective, masks, groups)
        self.model.fit(good, defective, masks)
        fitted, cross_validated = self.evidence.fit(good, known, groups)
        self.model.reading.set_evidence_weight(spread * EVIDENCE_LIMIT / self.model.reading.limit)
        self.known_corrections = tuple((spread * (cross_validated - fitted)).tolist())

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return self.model(features, self.rescale(self.evidence(features)))


def score_spread(
    model: AnomalyModel,
    good: Sequence[Tensor],
    defective: Sequence[Tensor],
    masks: Tensor,
    groups: Sequence[Hashable],
) -> float:
    """Standard deviation of the score of unseen good images: each half is scored by a copy fitted to the other half."""
    halves = torch.from_numpy(_at_least_two_folds(groups, 2))
    scores = []
    for half in (0, 1):
        other = copy.deepcopy(model)
        other.fit([level[halves != half] for level in good], defective, masks)
        held_out = [torch.split(level[halves == half], _BATCH) for level in good]
        scores += [other(batch)[1].flatten() for batch in zip(*held_out, strict=True)]
    return float(torch.cat(scores).std(correction=0))


def assign_folds(groups: Sequence[Hashable], count: int) -> NDArray[np.int64]:
    """The fold of each image: whole groups, from the largest to the smallest, each to the smallest fold.

    There are at most as many folds as groups.
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    folds, sizes = np.zeros(len(groups), np.int64), [0] * min(count, len(members))
    for indices in sorted(members.values(), key=len, reverse=True):
        fold = sizes.index(min(sizes))
        folds[indices] = fold
        sizes[fold] += len(indices)
    return folds


def _at_least_two_folds(groups: Sequence[Hashable], count: int) -> NDArray[np.int64]:
    return assign_folds(groups if len(set(groups)) > 1 else range(len(groups)), count)


def _fit_logistic(good: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    labels = np.concatenate([np.zeros(len(good)), np.ones(len(known))])
    regression = LogisticRegression(C=_INVERSE_REGULARIZATION, class_weight="balanced", max_iter=200)
    weight: NDArray[np.float64] = regression.fit(np.concatenate([good, known]), labels).coef_[0]
    return weight
