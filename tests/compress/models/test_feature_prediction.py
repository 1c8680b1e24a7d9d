"""The student's prediction of features."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch.nn import functional

from vedette.compress.models.anomaly.feature_prediction import FeaturePrediction

LEVELS = SimpleNamespace(channels=[4, 6], strides=[8, 16])


def features(count: int, seed: int) -> list[torch.Tensor]:
    """Random features of 64 x 64 pixels, whose second level follows from what is around a cell of the first."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(count, 4, 8, 8, generator=generator)
    weights = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    return [first, functional.conv2d(functional.avg_pool2d(first, 2), weights, padding=1) + 3]


def test_features_that_follow_are_usual_and_others_are_not() -> None:
    prediction = FeaturePrediction(LEVELS, 64)
    prediction.fit(features(60, 1))
    shallow, deep = features(8, 2)
    usual = prediction([shallow, deep])
    assert usual.shape == (8, 1, 8, 8)
    deep[:, :, 2, 1] = -deep[:, :, 2, 1] + 6  # as usual each by itself, but not beside the shallow features
    unusual = prediction([shallow, deep])
    assert unusual[:, :, 4:6, 2:4].mean() > 1.3 * usual[:, :, 4:6, 2:4].mean()
    unchanged = torch.ones(8, 8, dtype=torch.bool)
    unchanged[4:6, 2:4] = False
    assert torch.equal(unusual[..., unchanged], usual[..., unchanged])


def test_a_fit_is_repeatable_and_discards_the_one_before() -> None:
    one, other = FeaturePrediction(LEVELS, 64), FeaturePrediction(LEVELS, 64)
    other.fit([level * 2 for level in features(20, 5)])
    for prediction in (one, other):
        prediction.fit(features(20, 3))
    probe = features(4, 4)
    assert torch.equal(one(probe), other(probe))
