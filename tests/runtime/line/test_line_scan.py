"""Strips as a line-scan camera gives them, 4000 x 2 pixels, break nothing between the camera and the verdict."""

from __future__ import annotations

import os
import threading
from math import isfinite

import cv2
import numpy as np
import pytest

from vedette.runtime.camera.capture.privacy_mask import PrivacyMask
from vedette.runtime.camera.capture.shared_buffer import BufferWriter
from vedette.runtime.camera.frame import Frame
from vedette.runtime.camera.health import CameraHealth
from vedette.runtime.camera.monitored_camera import MonitoredCamera
from vedette.runtime.camera.motion_gate import MotionGate
from vedette.runtime.config.camera_tables import HealthSettings, MotionGateSettings
from vedette.runtime.config.configuration import load_config
from vedette.runtime.config.trigger_table import CodeSettings, PresenceSettings, TriggerSettings
from vedette.runtime.evidence.thumbnail import encode_thumbnail
from vedette.runtime.inference.golden_outputs import select_backend
from vedette.runtime.inference.heads import load_head
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.line.code_reader import CodeReader
from vedette.runtime.line.judgement import Judge, is_too_dark
from vedette.runtime.line.zone_presence import ZonePresence

SHAPES = [(2, 4000), (1, 4000), (4000, 2)]
WHOLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def strip(height: int, width: int, seed: int = 0):
    return np.random.default_rng(seed).integers(90, 160, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_from_a_file_to_a_verdict(tmp_path, anomaly_bundle, height, width):
    (tmp_path / "cameras" / "strips").mkdir(parents=True)
    (tmp_path / "vedette.toml").write_text("")
    (tmp_path / "cameras" / "door.toml").write_text(
        'source = "file:strips?fps=0"\nbundle = "x.vedette"\n[trigger]\nsource = "mqtt:"\n'
    )
    cv2.imwrite(str(tmp_path / "cameras" / "strips" / "0.png"), strip(height, width))
    frames = MonitoredCamera(load_config(tmp_path, "door")).frames(threading.Event())
    frame = next(each for each in frames if each is not None)
    assert frame.pixels.shape == (height, width, 3)
    manifest = anomaly_bundle.manifest
    pipeline = InferencePipeline(anomaly_bundle, select_backend(anomaly_bundle, "onnx", 1), load_head(manifest))
    predictions = pipeline.predict(0.0, frame.pixels)
    judgement = Judge(TriggerSettings("mqtt:"), manifest).judge(predictions)
    assert judgement.verdict in ("accept", "reject")
    assert isfinite(judgement.score)
    assert not is_too_dark(frame.pixels)
    assert is_too_dark(np.zeros_like(frame.pixels))
    encoded = np.frombuffer(encode_thumbnail(frame.pixels, predictions, 0.1, "jpeg", 20_000), np.uint8)
    assert max(cv2.imdecode(encoded, cv2.IMREAD_COLOR).shape) == 640


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_what_looks_at_frames_takes_strips(height, width):
    gate, zone = MotionGate(MotionGateSettings(seconds=5.0)), ZonePresence(PresenceSettings(WHOLE, learn=0.1))
    health, reader = CameraHealth(HealthSettings()), CodeReader(CodeSettings())
    entered = []
    for number in range(8):
        pixels = strip(height, width) if number < 7 else strip(height, width) // 3 + 150
        frame = Frame("door", number, number / 10, pixels)
        if gate.is_open(frame):
            gate.remember(())
        entered.append(zone.see(pixels, frame.moment))
        list(health.update(frame, 10.0 * number))
        assert reader.read(pixels) == ""
    assert (gate.inferences, gate.skipped) == (2, 6)
    assert not any(entered[:7])


def test_capture_process_keeps_a_strip():
    """What the capture process writes for each frame, with a privacy zone over the left half."""
    memory = os.memfd_create("strips")
    os.ftruncate(memory, 4096)
    writer, mask = BufferWriter(memory), PrivacyMask([[(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]])
    strips = iter([mask(strip(2, 4000, seed)) for seed in range(4)])
    written = [writer.write_frame(lambda _: next(strips)) for _ in range(4)]
    assert [shape for _, shape in written] == [(2, 4000, 3)] * 4
    last = writer.slots[written[-1][0]]
    assert not last[:, :2000].any()
    assert np.array_equal(last[:, 2001:], strip(2, 4000, 3)[:, 2001:])
    os.close(memory)
