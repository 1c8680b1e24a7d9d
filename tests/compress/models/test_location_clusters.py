"""Clusters of locations that share a covariance matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from vedette.compress.models import efficientnet_lite
from vedette.compress.models.anomaly import load_anomaly_model, location_clusters
from vedette.compress.models.anomaly.padim import DEVIATION_LIMIT


def moments(samples):
    """Second moments of samples, locations x images x channels."""
    return torch.bmm(samples.transpose(1, 2), samples) / samples.shape[1]


def samples_of(covariances, images, seed):
    """Gaussian samples, locations x images x channels, with a covariance for each location."""
    generator = torch.Generator().manual_seed(seed)
    channels = covariances.shape[1]
    noise = torch.randn(len(covariances), images, channels, generator=generator, dtype=torch.float64)
    return noise @ torch.linalg.cholesky(covariances).transpose(1, 2)


@given(st.lists(st.integers(0, 15), min_size=1, max_size=16, unique=True), st.sampled_from([(4, 8), (4, 8, 16), (4,)]))
def test_a_fine_location_stands_where_its_parent_stands(locations, sides):
    nested = location_clusters.nest_locations(locations, [(side, side) for side in sides])
    for side, found in zip(sides, nested, strict=True):
        numbers = torch.arange(16.0).reshape(1, 1, 4, 4)
        parents = functional.interpolate(numbers, scale_factor=side // 4).flatten()[found]
        copies = (side // 4) ** 2
        assert parents.tolist() == [place for place in locations for _ in range(copies)]
        assert len(set(found)) == len(found)


def test_locations_that_vary_alike_are_in_one_cluster():
    along = torch.tensor([[4.0, 1.9], [1.9, 1.0]], dtype=torch.float64)
    across = torch.tensor([[1.0, -1.9], [-1.9, 4.0]], dtype=torch.float64)
    covariances = torch.stack([along] * 10 + [across] * 6)
    halves = [moments(samples_of(covariances, 100, seed)) for seed in (1, 2)]
    clusters = location_clusters.choose_clusters(halves, 100)
    assert set(clusters[:10].tolist()).isdisjoint(clusters[10:].tolist())


def test_equal_locations_share_one_matrix():
    covariances = torch.eye(6, dtype=torch.float64).repeat(16, 1, 1)
    halves = [moments(samples_of(covariances, 10, seed)) for seed in (1, 2)]
    assert location_clusters.choose_clusters(halves, 10).tolist() == [0] * 16


@pytest.mark.parametrize("images", [2, 3])
def test_hardly_any_images_can_be_fitted(images):
    generator = torch.Generator().manual_seed(0)
    model = load_anomaly_model("padim", efficientnet_lite.load_backbone((4,)), 64)
    features = [torch.randn(images, 40, 8, 8, generator=generator)]
    model.fit(features, (), torch.zeros(0))
    with torch.inference_mode():
        assert torch.isfinite(model(features)[1]).all()


def test_few_images_draw_a_cluster_towards_all_locations():
    apart = torch.stack([torch.eye(2, dtype=torch.float64) * size for size in (1.0, 9.0)])
    clusters = torch.tensor([0, 1])
    few, many = (location_clusters.cluster_covariances(apart, clusters, images)[0] for images in (10, 4000))
    assert few.diagonal().mean() == pytest.approx(0.2 * 1 + 0.8 * 5)
    assert many.diagonal().mean() == pytest.approx(1, abs=0.05)


def test_distance_is_that_of_the_matrix_of_each_location():
    """The gathered, projected and reordered graph against one product per location."""
    generator = torch.Generator().manual_seed(0)
    model: Any = load_anomaly_model("padim", efficientnet_lite.load_backbone((4, 10)), 96)
    features = [
        torch.randn(40, channels, 96 // stride, 96 // stride, generator=generator)
        for channels, stride in zip(model.backbone.channels, model.backbone.strides, strict=True)
    ]
    clusters = torch.tensor([[0, 0, 1, 1, 2, 2]] * 6).flatten()
    model.set_clusters(clusters)
    model.fit(features, (), torch.zeros(0))
    vectors = model.join.concatenate_levels([level[:3] for level in features]).double()
    every = model.join.concatenate_levels(features).double()
    expected = torch.zeros(3, 12, 12, dtype=torch.float64)
    of_cell = clusters.reshape(6, 6).repeat_interleave(2, 0).repeat_interleave(2, 1)
    cells = every.unfold(2, 2, 2).unfold(3, 2, 2).permute(2, 3, 0, 4, 5, 1).reshape(36, -1, every.shape[1])
    per_location = moments(cells)
    for cluster, covariance in enumerate(location_clusters.cluster_covariances(per_location, clusters, 40)):
        variances, directions = torch.linalg.eigh(covariance)
        deviation = torch.einsum("nchw,cr->nrhw", vectors, directions / variances.sqrt())
        squared = deviation.clamp(-DEVIATION_LIMIT, DEVIATION_LIMIT).square().mean(dim=1)
        expected[:, of_cell == cluster] = squared[:, of_cell == cluster]
    smoothed = functional.avg_pool2d(expected[:, None], 3, 1, 1)
    with torch.inference_mode():
        found = model([level[:3] for level in features])[0]
    np.testing.assert_allclose(found.numpy(), smoothed.numpy(), rtol=1e-3, atol=1e-4)
