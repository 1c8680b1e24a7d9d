"""A frame rate is held evenly, whatever the camera's own rate is."""

from __future__ import annotations

import numpy as np
import pytest

from vedette.runtime.camera.capture.frame_pacer import FramePacer


def taken_moments(moments, interval):
    pacer = FramePacer()
    return [at for at in moments if pacer.takes(at, interval)]


@pytest.mark.parametrize(("camera", "wanted"), [(25, 10), (30, 20), (30, 25), (15, 4), (60, 7), (10, 10), (30.3, 30)])
def test_the_rate_is_held_and_each_frame_is_near_its_beat(camera, wanted):
    moments = np.arange(0, 60, 1 / camera)
    moments += np.random.default_rng(0).uniform(-0.1, 0.1, len(moments)) / camera
    taken = taken_moments(moments.tolist(), 1 / wanted)
    assert len(taken) / 60 == pytest.approx(wanted, rel=0.02)
    gaps = np.diff(taken)
    assert np.abs(gaps - 1 / wanted).max() < 1.3 / camera


def test_a_camera_that_is_slower_loses_no_frame():
    moments = np.arange(0, 10, 0.25).tolist()
    assert taken_moments(moments, 0.1) == moments
    assert taken_moments(moments, 0) == moments


def test_no_burst_makes_up_for_a_gap():
    moments = [*np.arange(0, 5, 0.04), *np.arange(9, 12, 0.04)]
    gaps = np.diff(taken_moments(moments, 0.2))
    assert gaps.min() > 0.15


def test_a_new_interval_counts_from_the_next_frame_on():
    pacer = FramePacer()
    moments = np.arange(0, 10, 0.05)
    taken = [at for at in moments if pacer.takes(at, 0.1 if at < 5 else 0.8)]
    assert np.diff([at for at in taken if at > 5.2]).min() > 0.7
