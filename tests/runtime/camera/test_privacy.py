"""Pixels of a privacy zone reach neither the model nor a preview nor the evidence."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera import Camera
from hypothesis import given
from hypothesis import strategies as st

from vedette.runtime.camera import sources
from vedette.runtime.camera.capture.privacy_mask import PrivacyMask, rasterize_zones
from vedette.runtime.camera.sources import SourceAddress
from vedette.runtime.config.camera_tables import PrivacySettings
from vedette.runtime.evidence.thumbnail import encode_thumbnail
from vedette.runtime.inference.prediction import Box, Prediction

SQUARE = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
TRIANGLE = ((0.1, 0.05), (0.9, 0.35), (0.3, 0.95))


def random_zone(rng):
    """A polygon about a point, its corners in order around it."""
    corners = int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = rng.uniform(0.02, 0.6, corners)
    centre = rng.uniform(0, 1, 2)
    points = centre + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return [tuple(map(float, point)) for point in points.clip(0, 1)]


def reference_mask(zone, height, width):
    """The pixels that a zone touches, by sampling: 5 x 5 points in each, edge included."""
    share = np.linspace(0, 1, 5)
    rows, columns = (np.arange(height)[:, None] + share).ravel(), (np.arange(width)[:, None] + share).ravel()
    y, x = np.meshgrid(rows / height, columns / width, indexing="ij")
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(zone, [*zone[1:], zone[0]], strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside.reshape(height, 5, width, 5).any(axis=(1, 3))


def test_hidden_pixels_of_a_thousand_zones_reach_no_output():
    """The frame and the evidence made from it, compared with a point-by-point search."""
    rng = np.random.default_rng(0)
    for _ in range(1000):
        height, width = map(int, rng.integers(8, 40, 2))
        zone = random_zone(rng)
        frame = rng.integers(1, 256, (height, width, 3), np.uint8)  # no pixel is black by itself
        shown = PrivacyMask([zone])(frame.copy())
        secret = reference_mask(zone, height, width)
        assert not shown[secret].any(), zone
        black = ~shown.any(axis=2)
        assert np.array_equal(shown[~black], frame[~black])
        contour = (np.array(zone) * (width, height)).astype(np.float32)
        away = [cv2.pointPolygonTest(contour, (x + 0.5, y + 0.5), True) for y, x in np.argwhere(black)]
        assert min(away, default=0) > -0.71, "no more is black than squares that the zone touches"


@given(st.integers(0, 2**32 - 1))
def test_hidden_content_does_not_change_events(seed):
    """Two frames that differ in the zone only give byte-identical thumbnails."""
    rng = np.random.default_rng(seed)
    zone, (height, width) = random_zone(rng), map(int, rng.integers(16, 64, 2))
    one = rng.integers(0, 256, (height, width, 3), np.uint8)
    other = one.copy()
    secret = reference_mask(zone, height, width)
    other[secret] = rng.integers(0, 256, (np.count_nonzero(secret), 3), np.uint8)
    seen = (Prediction("thing", 1.0, Box(0.2, 0.2, 0.8, 0.8)),)
    written = [encode_thumbnail(PrivacyMask([zone])(each), seen, 0.1, "jpeg", 4096) for each in (one, other)]
    assert written[0] == written[1]


def test_rounding_favors_privacy():
    """A sliver within one row of pixels, as thin as a point: every pixel that it crosses is hidden."""
    assert rasterize_zones([[(0.0, 0.501), (1.0, 0.501), (1.0, 0.502)]], 10, 10)[5].all()
    assert rasterize_zones([[(0.55, 0.0), (0.551, 0.0), (0.55, 1.0)]], 10, 10)[:, 5].all()
    assert rasterize_zones([[(0, 0), (1, 0), (1, 1), (0, 1)]], 7, 5).all()
    twice = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0), (1, 0), (1, 1), (0, 1)]
    assert rasterize_zones([twice], 7, 5).all()


def test_frame_size_may_change():
    mask = PrivacyMask([SQUARE])
    for height, width in ((8, 8), (16, 32), (8, 8)):
        shown = mask(np.full((height, width, 3), 9, np.uint8))
        assert shown[0].all()
        assert not shown[height // 2, width // 2].any()


def test_read_only_frame_is_copied():
    pixels = np.full((8, 8, 3), 9, np.uint8)
    pixels.flags.writeable = False
    assert not PrivacyMask([SQUARE])(pixels)[4, 4].any()
    assert pixels.all()


def first_frame(address):
    stop = threading.Event()
    for frame in sources.load_source(address).frames(stop):
        if frame is not None:
            stop.set()
            found = frame
    return found


def test_recording_is_masked(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60, 3), 200, np.uint8))
    frame = first_frame(SourceAddress("door", "file:a.png?fps=0", tmp_path, zones=(TRIANGLE,)))
    hidden = rasterize_zones([TRIANGLE], 40, 60)
    assert not frame.pixels[hidden].any()
    assert (frame.pixels[~hidden] == 200).all()


def test_live_frame_is_masked_before_the_daemon_gets_it():
    camera = Camera(picture=lambda _: np.full((240, 320, 3), 200, np.uint8))
    try:
        frame = first_frame(SourceAddress("door", camera.url, Path("/"), zones=(TRIANGLE, SQUARE)))
    finally:
        camera.close()
    hidden = rasterize_zones([TRIANGLE, SQUARE], 240, 320)
    assert not frame.pixels[hidden].any()
    assert frame.pixels[~hidden].min() > 150


def test_shared_memory_never_holds_hidden_pixels(daemon_process, wait_until):
    """Checks the slots in the memory of the capture process."""
    camera = Camera(picture=lambda number: np.full((240, 320, 3), 100 + number % 100, np.uint8), fps=50)
    daemon_process.configure(camera.url, "mqtt://127.0.0.1:1")
    daemon_process.append(f"[privacy]\nzones = {json.dumps([SQUARE])}")
    process = daemon_process.start()
    wait_until(lambda: "frames arrive" in daemon_process.log(), "frames")
    links = Path(f"/proc/{process.pid}/fd")
    memory = next(each for each in links.iterdir() if "vedette-camera" in os.readlink(each))
    hidden = rasterize_zones([SQUARE], 240, 320)
    with memory.open("rb") as shared:
        for _ in range(100):
            shared.seek(4096)
            slots = np.frombuffer(shared.read(3 * 240 * 320 * 3), np.uint8).reshape(3, 240, 320, 3)
            assert not slots[:, hidden].any()
    assert slots[:, ~hidden].any()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, daemon_process.log()
    camera.close()


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ([[0, 0], [1, 1]], "2 points"),
        ([[0, 0], [1, 0], [1.2, 1]], "outside the picture"),
        ([[0, 0], [1, 0], [float("nan"), 1]], "outside the picture"),
        ([[0, 0], [1, 1], [1, 0], [0, 1]], "cross"),
        ([[0, 0], [0.5, 0.5], [1, 1]], "encloses nothing"),
        ([[0, 0], [1, 0], [1, "a"]], "zones"),
    ],
)
def test_invalid_polygon_is_reported(zone, said, daemon_process, run_vedette):
    daemon_process.configure("file:parts", "stdout:")
    written = json.dumps([SQUARE, zone]).replace("NaN", "nan")
    daemon_process.append(f"[privacy]\nzones = {written}")
    done = run_vedette("run", "door", "--config", daemon_process.folder)
    assert done.returncode == 2
    assert said in done.stderr
    assert str(daemon_process.camera_file) in done.stderr
    assert "zones[1]" in done.stderr or "privacy.zones" in done.stderr


def test_concave_zone_is_accepted():
    assert PrivacySettings(zones=(((0.0, 0.0), (1.0, 0.0), (0.2, 0.2), (0.0, 1.0)),)).zones
