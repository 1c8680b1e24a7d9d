"""The view of a camera is known again in other light, and a small move is measured."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from moved_room import FAR, HEIGHT, NEAR, PRIVATE, WIDTH, ZONES, shows_private, to_gray, turned, view

from vedette.runtime.camera.capture.privacy_mask import PrivacyMask, rasterize_zones
from vedette.runtime.camera.moved_zones import FOLLOW_SHARE, follow_zones
from vedette.runtime.camera.view_matcher import STILL, ViewMatcher


@pytest.fixture(scope="module")
def matcher():
    gray = to_gray(view())
    return ViewMatcher(gray, rasterize_zones(ZONES, *gray.shape))


def darken(pixels):
    gray = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    noise = np.random.default_rng(3).normal(0, 4, gray.shape)
    return np.clip(0.3 * gray + 10 + noise, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def add_passer(pixels):
    covered = pixels.copy()
    covered[40:, 200:290] = np.random.default_rng(5).integers(0, 255, (200, 90, 3))
    return covered


@pytest.mark.parametrize(
    "change", [lambda each: each, darken, lambda each: cv2.add(each, np.full_like(each, 40)), add_passer]
)
def test_light_and_passers_move_no_view(matcher, change):
    for number in range(3):
        motion = matcher.locate(to_gray(change(view(number + 1))))
        assert motion is not None
        assert motion.share >= FOLLOW_SHARE
        assert matcher.measure_shift(motion.matrix) <= STILL


@pytest.mark.parametrize(
    ("move", "change"),
    [(NEAR, darken), (turned(3), None), (turned(-1), darken), (turned(0, 1.08), None), (turned(5, 0.95), None)],
)
def test_zones_follow_a_small_move(matcher, move, change):
    change = change or (lambda each: each)
    motion = matcher.locate(to_gray(change(view(1, move))))
    followed = follow_zones(matcher, motion)
    assert followed is not None
    shown = followed.hide(PrivacyMask(ZONES)(view(1, move)))
    assert not shows_private(shown)
    assert shown.any(axis=2).mean() > 0.4, "the rest of the picture is shown"
    places = np.argwhere(PRIVATE)[:, ::-1]
    there = matcher.to_pixels @ motion.matrix @ np.linalg.inv(matcher.to_pixels) @ np.c_[places, np.ones(len(places))].T
    expected = move @ np.c_[places, np.ones(len(places))].T
    assert np.abs(there[:2] / there[2] - expected).max() < 1.5, "pixels"


def test_edge_of_the_earlier_view_is_hidden(matcher):
    """What comes into view beside it was never looked at when the zones were drawn."""
    followed = follow_zones(matcher, matcher.locate(to_gray(view(1, NEAR))))
    assert not followed.visible[:, :12].any()
    assert not followed.visible[-8:].any()
    assert followed.visible[20:60, 40:300].any()


@pytest.mark.parametrize("pixels", [view(1, FAR), view(1, seed=7), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)])
def test_another_scene_is_never_followed(matcher, pixels):
    motion = matcher.locate(to_gray(pixels))
    assert motion is None or follow_zones(matcher, motion) is None
    assert motion is None or matcher.measure_shift(motion.matrix) > STILL
