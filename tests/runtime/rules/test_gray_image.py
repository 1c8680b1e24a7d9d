"""The small gray image of left and removed objects."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vedette.runtime.rules.state.gray_image import WIDTH, compare_edges, downscale, find_known_median, find_median


@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (720, 1280), (576, 704), (90, 160), (160, 240)])
def test_large_frames_are_shrunk_as_at_once(size):
    """In two steps, or in gray first, it is off by rounding alone."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    picture = cv2.add(
        cv2.resize(coarse, size[::-1]), rng.integers(-20, 20, (*size, 3)).astype(np.int16), dtype=cv2.CV_8U
    )
    at_once = cv2.resize(picture, (WIDTH, round(WIDTH * size[0] / size[1])), interpolation=cv2.INTER_AREA)
    expected = cv2.GaussianBlur(cv2.cvtColor(at_once, cv2.COLOR_BGR2GRAY), (3, 3), 0).astype(np.float32)
    small = downscale(picture)
    assert small.shape == expected.shape
    assert np.abs(small - expected).max() <= 1
    assert abs(float((small - expected).mean())) < 0.2


@pytest.mark.parametrize("count", [1, 2, 5, 64, 4801])
def test_the_median_is_that_of_numpy(count):
    values = np.random.default_rng(count).normal(0, 9, count).astype(np.float32)
    assert find_median(values) == np.median(values)


def test_the_median_of_images_leaves_out_what_is_not_known():
    rng = np.random.default_rng(1)
    images = rng.normal(0, 9, (8, 9, 16)).astype(np.float32)
    images[rng.random(images.shape) < 0.4] = np.nan
    images[0] = np.where(np.isnan(images).all(axis=0), 1, images[0])
    assert np.array_equal(find_known_median(images), np.nanmedian(images, axis=0))


def test_edges_at_the_border_of_the_frame():
    before = np.full((90, 160), 100, np.float32)
    for place in ((slice(0, 9), slice(0, 12)), (slice(40, 55), slice(60, 70)), (slice(80, 90), slice(150, 160))):
        now, blob = before.copy(), np.zeros(before.shape, bool)
        now[place], blob[place] = 40, True
        assert compare_edges(blob, now, before) > 0.99
        assert compare_edges(blob, before, now) < 0.01
