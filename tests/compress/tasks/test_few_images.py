"""A build from few good images works from end to end and promises nothing that they do not prove."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from products import GOAL, texture_image

from vedette.compress.evaluation.built_models import INT8_ONNX
from vedette.runtime.bundle.bundle import Bundle


def write_images(folder, count, first=0, scratched=False):
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03d}.png"), texture_image(first + number, scratched))


@pytest.mark.parametrize(
    ("count", "detector"),
    [
        pytest.param(1, "patchcore", marks=pytest.mark.slow),
        (2, "patchcore"),
        pytest.param(4, "padim", marks=pytest.mark.slow),
    ],
)
def test_build_from_few_images_tells_defects_and_words_its_promise(count, detector, tmp_path, build_bundle, keyring):
    write_images(tmp_path / "good", count)
    write_images(tmp_path / "fixed" / "good", 12, first=500)
    write_images(tmp_path / "fixed" / "defect", 12, first=1000, scratched=True)
    goal = GOAL.replace('defect = "defect"\n', 'test = "fixed"\n').replace("[model]\n", f"[model]\n# {count}\n")
    (tmp_path / "goal.toml").write_text(goal)
    logged = []
    result = build_bundle(tmp_path / "goal.toml", tmp_path / "out", log=logged.append, search_seconds=60)
    measured, threshold = result.manifest.measured, result.results.metrics.threshold

    assert any(line.startswith(f"few images: {count} good image") for line in logged)
    assert any(line.startswith("no search") for line in logged)
    assert measured["detector"] == detector
    assert result.results.metrics.by_model[INT8_ONNX].value >= 0.9
    assert measured["detection_rate"] >= 0.9
    assert threshold.method == "few images"
    assert threshold.rate_bound == 1.0
    assert "no false-alarm rate" in threshold.statement
    assert "29 independent good images" in threshold.statement
    assert threshold.statement in result.report.read_text().replace("&#39;", "'")
    report = json.loads((tmp_path / "out" / "weave.json").read_text())
    assert len(report["split"]["fit"]) == count
    assert len(report["split"]["test"]) == 12
    bundle = Bundle.open(result.bundle, keyring)
    assert bundle.manifest.threshold == pytest.approx(threshold.score)


@pytest.mark.slow
def test_build_without_test_images_measures_nothing_and_says_so(tmp_path, build_bundle):
    write_images(tmp_path / "good", 2)
    (tmp_path / "goal.toml").write_text(GOAL.replace('defect = "defect"\n', ""))
    result = build_bundle(tmp_path / "goal.toml", tmp_path / "out")
    assert result.verdict.met, "nothing is missed, nothing is proven"
    assert len(result.verdict.unproven) == 2
    assert result.manifest.measured["auroc_int8_onnx"] is None
    assert result.manifest.measured["false_alarm_rate"] is None
    assert "There are no test images" in result.report.read_text()
    assert np.isfinite(result.manifest.threshold)
