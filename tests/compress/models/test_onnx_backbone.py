"""The backbone in ONNX Runtime gives the features of PyTorch; fits hold no more than they need."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from vedette.compress.models import efficientnet_lite
from vedette.compress.models.anomaly.feature_fusion import FeatureFusion
from vedette.compress.models.anomaly.standardization import ChannelStandardizationLayer
from vedette.compress.models.efficientnet_lite import Backbone
from vedette.compress.models.feature_extraction import extract_float_features, normalized_image_batch

FIT = """
import resource, sys, torch
from vedette.compress.models import anomaly, efficientnet_lite
model = anomaly.load_anomaly_model(sys.argv[1], efficientnet_lite.load_backbone((4, 10)), 96)
features = [torch.rand(1500, 40, 12, 12), torch.rand(1500, 112, 6, 6)]
few = [level[:32] for level in features]
model.fit(few, few, torch.rand(32, 12, 12))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.fit(features, few, torch.rand(32, 12, 12))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def pixels(count, size=96):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize("taps", [(0,), (4, 10), (2, 15)])
def test_features_are_those_of_pytorch(taps):
    backbone, images = efficientnet_lite.load_backbone(taps), pixels(6)
    with torch.inference_mode():
        expected = backbone(normalized_image_batch(images))
    found = [torch.cat(level) for level in zip(*extract_float_features(backbone, images), strict=True)]
    assert len(found) == len(taps)
    for level, other in zip(found, expected, strict=True):
        assert level.shape == other.shape
        assert (level - other).abs().max() <= 1e-4 * other.abs().max()


def test_features_of_a_pruned_backbone():
    torch.manual_seed(0)
    backbone, images = Backbone((4,), kept_share=0.5).eval(), pixels(2)
    with torch.inference_mode():
        expected = backbone(normalized_image_batch(images))[0]
    assert torch.allclose(next(extract_float_features(backbone, images))[0], expected, rtol=1e-3, atol=1e-5)


def test_gathered_cells_are_those_of_all_images():
    fusion = FeatureFusion(Backbone((4, 10)), 96, ChannelStandardizationLayer, 8)
    generator = torch.Generator().manual_seed(0)
    features = [torch.rand(70, 40, 12, 12, generator=generator), torch.rand(70, 112, 6, 6, generator=generator)]
    fusion.fit(features)
    rows = torch.randperm(70 * 144, generator=generator)[:500]
    everything = torch.cat(list(fusion.iterate_cell_vectors(features)))
    assert torch.equal(fusion.gather_cell_vectors(features, rows), everything[rows])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["padim", "patchcore"])
def test_a_fit_needs_little_memory_beside_the_features(name):
    """1,500 images: their cells at once would take 130 MB, their distances to the stored patches 440 MB."""
    result = subprocess.run([sys.executable, "-c", FIT, name], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 100
