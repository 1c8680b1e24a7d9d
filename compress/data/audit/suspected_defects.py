"""Suspected defects: images of the label `good` that look defective.

Each good image gets an anomaly score from a model of the other good images: a small PaDiM (Defard et al., 2020) on the
features that the audit computes anyway, with a mean and a variance per location and one correlation matrix for all. The
models are cross-validated by image, not by group: a group of another kind of good parts is known to the model that
scores one of its images. They are fitted a second time without the images that were suspected first. The logarithms of
the scores are compared with their median, in units of the spread of the lower half, which defects do not widen.

    suspected   beyond `suspect_limit`: a finding, for a person to look at
    unusual     beyond UNUSUAL_DEVIATIONS: left out of a robust fit, if enough are suspected (compress/data/trimming.py)

Good and defective parts overlap. So some good parts are suspected, and many defective ones are not: docs/accuracy.md,
"Defects among the good images", has the rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .findings import Finding

MIN_IMAGES = 30  # good images that the check needs
MAX_IMAGES = 4000  # good images that are checked; their features take 60 kB each
SIDE = 14  # cells per side of the features
SUSPECT_DEVIATIONS = 2.5
_ALLOWANCE = 4.0  # times 1 / sqrt(n): allowance for the error of a spread of n images, relative to it
UNUSUAL_DEVIATIONS = 1.5
_FOLDS = 3
_ROUNDS = 2
_PRIOR_WEIGHT = 40.0  # images; weight of the channel's variance, relative to that of a location
_SHRINKAGE = 0.1  # share of a multiple of the identity in the correlation matrix
_LIMIT = 4.0  # standard deviations per direction
_BATCH = 64


def pool_levels(levels: Sequence[Tensor]) -> Tensor:
    """Feature levels, N x C x H x W each -> N x (channels of all levels) x SIDE x SIDE, half precision."""
    pooled = []
    for level in levels:
        smooth = functional.avg_pool2d(functional.pad(level, (1, 1, 1, 1), mode="replicate"), 3, 1)
        pooled.append(functional.adaptive_avg_pool2d(smooth, SIDE))
    return torch.cat(pooled, dim=1).half()


def cross_validated_deviations(cells: Sequence[Tensor]) -> NDArray[Any]:
    """How far each image lies from the others: robust standard deviations of the logarithm of its score, n.

    Args:
        cells: features of n images, from `pool_levels`, in an order that keeps similar images together
    """
    features, folds = torch.stack(list(cells)), np.arange(len(cells)) % _FOLDS
    kept = np.ones(len(folds), bool)
    deviations = np.zeros(len(folds))
    for _ in range(_ROUNDS):
        scores = np.zeros(len(folds))
        for fold in range(_FOLDS):
            model = _Model(features[torch.from_numpy((folds != fold) & kept)])
            scores[folds == fold] = model.score(features[torch.from_numpy(folds == fold)])
        deviations = robust_deviations(np.log(np.maximum(scores, 1e-6)))
        kept = deviations <= SUSPECT_DEVIATIONS
    return deviations


def suspect_limit(images: int) -> float:
    """Robust standard deviations beyond which an image looks defective, among so many images."""
    return SUSPECT_DEVIATIONS * (1 + _ALLOWANCE / sqrt(images))


def robust_deviations(values: NDArray[Any]) -> NDArray[Any]:
    """Values less their median, in standard deviations as the lower half has them."""
    median = float(np.median(values))
    spread = 1.4826 * float(np.median(median - values[values <= median]))
    return (values - median) / max(spread, 1e-6)


def find_suspects(
    cells: Mapping[Path, Tensor], label: str, reported: set[Path], unchecked: list[str]
) -> Iterator[Finding]:
    """Finds good images that look defective, except for those that another finding names.

    Args:
        cells: features of the good images, from `pool_levels`
        label: their label
        reported: images with another finding
        unchecked: gets the reason if images are not checked
    """
    if len(cells) < MIN_IMAGES:
        unchecked.append(f"defects among good images: {len(cells)} good images, {MIN_IMAGES} are needed")
        return
    if len(cells) >= MAX_IMAGES:
        unchecked.append(f"defects among good images: only the first {MAX_IMAGES} were checked")
    deviations = cross_validated_deviations(list(cells.values()))
    limit = suspect_limit(len(cells))
    for path, deviation in zip(cells, deviations.tolist(), strict=True):
        if deviation > limit and path not in reported:
            yield Finding(
                kind="defect",
                file=path,
                label=label,
                measure="distance from the other images, in robust deviations",
                value=deviation,
                threshold=limit,
                why=f"it looks defective to a model of the other images that are labelled {label}",
            )


class _Model:
    """Mean, deviation and principal directions of good images, N x C x SIDE x SIDE."""

    def __init__(self, good: Tensor) -> None:
        count, channels = len(good), good.shape[1]
        values = good.float()
        self.mean = values.mean(dim=0)
        variance = values.var(dim=0, correction=0)
        shared = variance.mean(dim=(1, 2), keepdim=True).clamp(min=1e-6)
        self.deviation = ((count * variance + _PRIOR_WEIGHT * shared) / (count + _PRIOR_WEIGHT)).sqrt()
        moments = torch.zeros(channels, channels, dtype=torch.float64)
        for batch in torch.split(good, _BATCH):
            vectors = self._vectors(batch).reshape(-1, channels)
            moments += (vectors.T @ vectors).double() / (count * SIDE**2)
        identity = torch.eye(channels, dtype=torch.float64)
        moments = (1 - _SHRINKAGE) * moments + _SHRINKAGE * moments.diagonal().mean() * identity
        variances, directions = torch.linalg.eigh(moments)
        self.whitening = (directions / variances.sqrt()).float()

    def _vectors(self, images: Tensor) -> Tensor:
        return ((images.float() - self.mean) / self.deviation).permute(0, 2, 3, 1)

    def score(self, images: Tensor) -> NDArray[Any]:
        """The highest value of the smoothed map of squared distances, less half of its mean."""
        scores = []
        for batch in torch.split(images, _BATCH):
            distance = ((self._vectors(batch) @ self.whitening).clamp(-_LIMIT, _LIMIT) ** 2).mean(dim=3)
            smooth = functional.avg_pool2d(distance[:, None], 3, 1, padding=1)
            scores.append(smooth.amax(dim=(1, 2, 3)) - smooth.mean(dim=(1, 2, 3)) / 2)
        return torch.cat(scores).numpy()
