"""The aspect ratio that `[model] input = "auto"` keeps, and a build with it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from products import texture_image

from vedette.compress import build as builds
from vedette.compress.data import aspect_ratio
from vedette.compress.models import design
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring, generate_key_pair, read_private_key
from vedette.runtime.bundle.manifest import Inspection
from vedette.runtime.evaluation.bundle_verification import verify_bundle
from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.progress import no_log

SIDE = 128  # of a square input; a build takes 224, and longer
GOAL = """\
name = "strip"
task = "anomaly"
[data]
good = "good"
defect = "defect"
mask = "mask"
[goal]
min_auroc = 0.9
[model]
detector = "padim"
input = "auto"
blocks = [2, 4]
[inspect]
align = "none"
region = [[0.0, 0.0], [1.0, 0.0], [1.0, 0.5], [0.0, 0.5]]
"""


def write_images(folder: Path, shapes: list[tuple[int, int]]) -> list[Path]:
    paths = [folder / f"{number:02d}.png" for number in range(len(shapes))]
    for path, shape in zip(paths, shapes, strict=True):
        cv2.imwrite(str(path), np.zeros((*shape, 3), np.uint8))
    return paths


def test_region_changes_the_aspect_ratio_of_the_images(tmp_path):
    paths = write_images(tmp_path, [(60, 90)] * 5)
    assert aspect_ratio.measure_aspect_ratio(paths, None, no_log) == pytest.approx(1.5)
    inspector = Inspector(Inspection(region=((0.2, 0.0), (0.6, 0.0), (0.6, 0.8), (0.2, 0.8))))
    assert aspect_ratio.measure_aspect_ratio(paths, inspector, no_log) == pytest.approx(0.75)


def test_images_of_many_shapes_have_no_common_aspect_ratio(tmp_path):
    lines: list[str] = []
    paths = write_images(tmp_path, [(60, 30 + 10 * number) for number in range(8)])
    assert aspect_ratio.measure_aspect_ratio(paths, None, lines.append) == 1.0
    assert "0.6" in lines[0]
    assert "square" in lines[0]


@pytest.mark.slow
def test_build_with_a_rectangular_input_is_verified_on_the_device(tmp_path, monkeypatch):
    monkeypatch.setattr(design, "DEFAULT_INPUT", SIDE)
    for label, count in (("good", 40), ("defect", 8), ("mask", 8)):
        (tmp_path / label).mkdir()
        for number in range(count):
            # the model sees the upper half of 240 x 240 pixels, of which the texture is doubled sideways
            half = np.hstack([texture_image(5000 + number, False), texture_image(7000 + number, label != "good")])
            mask = np.zeros((240, 240), np.uint8)
            mask[:120, 120:] = 255
            file = mask if label == "mask" else np.vstack([half, np.zeros_like(half)])
            cv2.imwrite(str(tmp_path / label / f"{number:02d}.png"), file)
    (tmp_path / "goal.toml").write_text(GOAL)
    key, _ = generate_key_pair(tmp_path)
    result = builds.build(builds.BuildRequest(tmp_path / "goal.toml", tmp_path / "out", read_private_key(key)))
    given = result.manifest.input
    assert given.width == pytest.approx(2 * given.height, rel=0.15)
    assert given.width * given.height == pytest.approx(SIDE**2, rel=0.3)
    measured = result.manifest.measured
    assert measured["parity_max_steps"] <= 3
    assert min(measured["auroc_int8_onnx"], measured["auroc_int8_tflite"]) > 0.95
    assert measured["pixel_auroc"] > 0.6
    report = json.loads(result.report.with_suffix(".json").read_text())
    assert report["input"] == [given.height, given.width]
    assert verify_bundle(Bundle.open(result.bundle, Keyring.read(tmp_path)), tmp_path).verified
