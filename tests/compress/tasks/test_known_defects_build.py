"""A build with known defects: they are listed, learned from, counted at the threshold, and test nothing."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from products import texture_image, write_goal_for
from shared_build import made_once

pytestmark = pytest.mark.build


@pytest.fixture(scope="module")
def known_build(anomaly_images, build_bundle, tmp_path_factory):
    """The texture with eight known scratches and a copy of a test image among them."""

    def build(folder: Path):
        (folder / "known" / "scratch").mkdir(parents=True)
        for number in range(8):
            cv2.imwrite(str(folder / "known" / "scratch" / f"{number}.png"), texture_image(2000 + number, True))
        (folder / "known" / "copy.png").write_bytes((anomaly_images / "defect" / "003.png").read_bytes())
        padim = ("[model]", '[model]\ndetector = "padim"')
        goal = write_goal_for(anomaly_images, folder, ("[goal]", 'known = "known"\n[goal]'), padim)
        return build_bundle(goal, folder / "out")

    return made_once(tmp_path_factory, "known-build", build)


@pytest.mark.slow
def test_known_defects_are_listed_and_test_nothing(known_build):
    report = json.loads(known_build.report.with_suffix(".json").read_text())
    assert sorted(report["split"]["known"]) == [f"known/scratch/{number}.png" for number in range(8)]
    assert report["audit"]["known_left_out"] == ["known/copy.png"]
    assert len(report["split"]["defect"]) == 12
    assert report["images"]["known"] == 8


@pytest.mark.slow
def test_detection_rate_of_known_defects_is_a_figure_of_its_own(known_build):
    measured = known_build.manifest.measured
    low, high = measured["known_detection_interval"]
    assert low <= measured["known_detection_rate"] <= high
    assert measured["known_detection_rate"] > 0.5
    assert measured["images"]["test_defect"] == 12
    assert "known defects" in known_build.report.read_text()


@pytest.mark.slow
def test_files_of_a_build_with_known_defects_agree_and_are_accurate(known_build):
    measured = known_build.manifest.measured
    assert measured["parity_max_steps"] <= 1
    assert measured["auroc_int8_onnx"] > 0.95
    assert measured["auroc_int8_tflite"] > 0.95


def test_build_without_known_defects_mentions_none(anomaly_build):
    report = json.loads(anomaly_build.report.with_suffix(".json").read_text())
    assert "known" not in report["split"]
    assert "known" not in report["images"]
    assert not any(key.startswith("known") for key in [*report, *report["audit"]])
    assert all("known" not in trial for trial in report["trials"])
