"""Golden sample: which images it compares with, and how a difference counts."""

from __future__ import annotations

import pytest
import torch

from vedette.compress.models.anomaly import golden
from vedette.compress.models.anomaly.golden import GoldenSample, limit_references
from vedette.compress.models.efficientnet_lite import Backbone

SIZE = 96


@pytest.fixture(scope="module")
def backbone():
    return Backbone((4,))


def make_features(variants, noise=0.1, seed=0):
    """Features of images, each a variant with noise: one level, N x 40 x 12 x 12."""
    patterns = torch.randn(3, 40, 12, 12, generator=torch.Generator().manual_seed(9))
    shown = torch.stack([patterns[variant] for variant in variants])
    return [shown + noise * torch.randn(shown.shape, generator=torch.Generator().manual_seed(seed))]


def fit(backbone, good, **settings):
    model = GoldenSample(backbone, SIZE)
    for key, value in settings.items():
        setattr(model, key, value)
    model.fit(good, (), torch.zeros(0))
    return model


def scores(model, features):
    with torch.inference_mode():
        return model(features)[1]


def test_each_variant_of_a_part_is_good_and_a_third_one_is_not(backbone):
    model = fit(backbone, make_features([0, 0, 0, 0, 1, 1]), max_references=2)
    assert model.count == 2
    same, other = scores(model, make_features([0, 1], seed=1)), scores(model, make_features([2], seed=1))
    assert 5 * same.max() < other.min()
    single = fit(backbone, make_features([0] * 6), max_references=2)
    good, other = scores(single, make_features([0, 1], seed=1))
    assert 5 * good < other, "a variant that no good image shows"


def test_only_candidates_are_references(backbone):
    good = make_features([0, 1, 0, 1])
    model = GoldenSample(backbone, SIZE)
    limit_references(model, torch.tensor([True, False, True, False]))
    model.fit(good, (), torch.zeros(0))
    assert model.count == 2
    with torch.inference_mode():
        assert model([good[0][[0]]])[0].max() < 1e-9
        assert model([good[0][[1]]])[0].max() > 0


def test_a_difference_counts_less_where_good_images_differ(backbone):
    good = make_features([0] * 12)
    varied = torch.randn(good[0][:, :, :6].shape, generator=torch.Generator().manual_seed(3))
    good[0][:, :, :6] += 0.5 * varied
    model = fit(backbone, good, prior_weight=1.0)
    changed = make_features([0], seed=1)
    for row in (2, 9):
        changed[0][:, :, row, 4:7] += 0.8
    with torch.inference_mode():
        anomaly = model(changed)[0][0, 0]
        plain = model(make_features([0], seed=1))[0][0, 0]
    assert (anomaly - plain)[9, 5] > 3 * (anomaly - plain)[2, 5]


def test_a_later_fit_keeps_the_number_of_references(backbone):
    model = fit(backbone, make_features([0, 1, 2]))
    assert model.count == 3
    model.fit(make_features([0, 1, 2] * 4, seed=2), (), torch.zeros(0))
    assert model.count == 3
    fresh = GoldenSample(backbone, SIZE)
    fresh.assume_largest_structure()
    assert fresh.count == golden.MAX_REFERENCES
    assert fresh.constant_bytes == 9 * 40 * 144
