"""The feature cache decodes each image once, and the fit takes the features of the trials."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from vedette.compress.data import image_feature_cache
from vedette.compress.data.image_feature_cache import ImageFeatureCache
from vedette.compress.data.split import Split
from vedette.compress.goal.augmentation_settings import AugmentationSettings
from vedette.compress.models import efficientnet_lite
from vedette.compress.models.feature_extraction import extract_float_features
from vedette.runtime.camera import image_files
from vedette.runtime.progress import no_progress

SIZE, BLOCKS = 64, (2, 4)


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded, in order."""
    files = []
    read = image_files.read_image

    def read_image(path, *flags):
        files.append(path)
        return read(path, *flags)

    monkeypatch.setattr(image_files, "read_image", read_image)
    return files


@pytest.fixture
def cache(tmp_path, decoded, monkeypatch):
    """Twelve good images; trials use seven of them."""
    monkeypatch.setattr(image_feature_cache, "MAX_TRIAL_IMAGES", 7)
    monkeypatch.setattr(image_feature_cache, "MAX_DEFECTIVE_IMAGES", 5)
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number:02d}.png" for number in range(12)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (80, 80, 3), dtype=np.uint8))
    split = Split(paths, [], [], [], [], {}, {path: path.name for path in paths})
    return ImageFeatureCache(split, SIZE, BLOCKS, 0, no_progress)


def test_each_image_is_decoded_once(cache, decoded):
    cache.extract_features(SIZE)
    cache.augmented_images(SIZE, None)
    assert sorted(decoded) == cache.split.fit


def test_fit_features_are_those_of_all_images(cache):
    assert cache.iterate_fit_features(SIZE, BLOCKS) is None
    cache.extract_features(SIZE)
    batches = cache.iterate_fit_features(SIZE, (4,))
    assert batches is not None
    found = torch.cat([level for (level,) in batches])
    images = [*cache.good_images(SIZE), *cache.defective_images(SIZE)]
    network = efficientnet_lite.load_backbone((4,))
    expected = torch.cat([level for (level,) in extract_float_features(network, images)])
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-4)


def test_large_sets_are_sampled(tmp_path, monkeypatch, cache):
    monkeypatch.setattr(image_feature_cache, "MAX_FIT_IMAGES", 9)
    smaller = ImageFeatureCache(cache.split, SIZE, BLOCKS, 0, no_progress)
    assert len(smaller.good_images(SIZE)) == 9
    assert set(smaller.fit_paths) < set(cache.split.fit)
    assert len(smaller.groups) == 7


def test_copies_follow_their_image_and_can_be_switched_off(cache):
    good = cache.good_images(SIZE)
    varied = cache.augmented_images(SIZE, None)
    assert len(varied) == 4 * len(good)
    for number, image in enumerate(good):
        original, *copies = varied[4 * number : 4 * number + 4]
        assert np.array_equal(original, image)
        for copy in copies:
            assert not np.array_equal(copy, image)
            assert np.corrcoef(copy.ravel(), image.ravel())[0, 1] > 0.95, "another lamp, not another place"
    off = AugmentationSettings(shift=0.0, rotate=0.0, light=0.0, blur=0.0, noise=0.0)
    assert len(cache.augmented_images(SIZE, off)) == len(good)


def test_large_sets_have_fewer_copies(monkeypatch, cache):
    monkeypatch.setattr(image_feature_cache, "MAX_FIT_IMAGES", 24)
    assert len(cache.augmented_images(SIZE, None)) == 2 * len(cache.good_images(SIZE))
