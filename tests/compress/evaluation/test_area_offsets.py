"""A build with thresholds of single areas: stickers in one corner of good parts hide no scratch elsewhere."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from products import GOAL, texture_image
from shared_build import made_once

from vedette.compress.review import decisions
from vedette.compress.review.bundle_review import open_subject
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.local_recalibration import open_bundle
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.bundle_recalibration import recalibrate_bundle
from vedette.runtime.inference.golden_outputs import select_backend
from vedette.runtime.inference.heads import load_head
from vedette.runtime.inference.pipeline import InferencePipeline

AREA = """
[inspect]
align = "none"
[[inspect.areas]]
name = "label"
polygon = [[0, 0], [0.4, 0], [0.4, 0.4], [0, 0.4]]
"""


def stickered_image(seed: int, scratched: bool, sticker: bool | None = None) -> np.ndarray:
    """The texture; one in four has a sticker somewhere in the upper left, and defective ones a scratch lower right."""
    image, rng = texture_image(seed, False), np.random.default_rng(seed + 7)
    if rng.random() < 0.25 if sticker is None else sticker:
        x, y = rng.integers(2, 30, 2)
        cv2.rectangle(image, (int(x), int(y)), (int(x) + 8, int(y) + 8), (235, 235, 235), -1)
    if scratched:
        cv2.line(image, (70, 70), (int(rng.integers(88, 100)), int(rng.integers(88, 100))), (180, 180, 180), 2)
    return image


@pytest.fixture(scope="module")
def builds(build_bundle, tmp_path_factory):
    """The bundle without areas, with one, and with that one ignored."""

    def make(folder: Path):
        for kind, count, first in (("good", 120, 0), ("defect", 16, 1000)):
            (folder / kind).mkdir()
            for number in range(count):
                image = stickered_image(first + number, kind == "defect")
                cv2.imwrite(str(folder / kind / f"{number:03d}.png"), image)
        results = {}
        for name, text in (
            ("plain", '[inspect]\nalign = "none"\n'),
            ("area", AREA),
            ("ignored", AREA + "ignore = true\n"),
        ):
            (folder / f"{name}.toml").write_text(GOAL.replace('"weave"', f'"{name}"') + text)
            results[name] = build_bundle(folder / f"{name}.toml", folder / "out")
        return results

    return made_once(tmp_path_factory, "area-builds", make)


pytestmark = pytest.mark.build


@pytest.mark.slow
def test_scratches_elsewhere_are_found_that_the_stickers_hid(builds):
    found = {name: build.manifest.measured["detection_rate"] for name, build in builds.items()}
    assert found["area"] >= found["plain"] + 0.3
    assert found["ignored"] >= found["plain"] + 0.3
    for build in builds.values():
        assert build.manifest.measured["false_alarm_rate"] <= 0.25
    (area,) = builds["area"].manifest.inspect.areas
    assert area.offset > 0
    assert "label" in builds["area"].report.read_text()
    assert [str(builds[name].manifest.inspect) for name in ("area", "ignored")] == [
        "the whole frame; areas with thresholds of their own: label",
        "the whole frame; areas with thresholds of their own: label (ignored)",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnx", "tflite"])
def test_device_names_the_area_and_decides_as_the_build_did(builds, keyring, backend):
    def judge(name: str, image: np.ndarray):
        bundle = open_bundle(builds[name].bundle, keyring)
        pipeline = InferencePipeline(bundle, select_backend(bundle, backend, 1), load_head(bundle.manifest))
        (prediction,) = pipeline.predict(0.0, image) or ()
        return prediction, prediction.score >= bundle.manifest.threshold

    scratch, sticker = stickered_image(5001, True, False), stickered_image(5002, False, True)
    found, alarm = judge("area", scratch)
    assert alarm
    assert found.area is None
    assert found.box.left > 0.4
    assert judge("area", sticker)[0].area == "label"
    ignored, alarm = judge("ignored", sticker)
    assert not alarm
    assert ignored.area is None
    assert not judge("area", sticker)[1]
    assert judge("plain", sticker)[0].area is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["area", "ignored", "plain"])
def test_review_judges_by_the_scores_of_the_device(builds, keyring, tmp_path, name):
    """With areas, and after a recalibration in other light."""
    for seed in range(7000, 7020):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), stickered_image(seed, False) // 2)
    opened = open_bundle(builds[name].bundle, keyring)
    recalibration = recalibrate_bundle(opened, [tmp_path]).recalibration
    changed = msgspec.structs.replace(opened.manifest, recalibrated=recalibration, threshold=recalibration.threshold)
    bundle = Bundle(opened.path, changed, opened.members, opened.manifest_sha256)
    subject = open_subject(bundle, None)
    images = [stickered_image(seed, seed % 2 == 0) for seed in range(6000, 6008)]
    pipeline = InferencePipeline(bundle, select_backend(bundle, "onnx", 1), load_head(bundle.manifest))
    device = [(pipeline.predict(0.0, image) or ())[0].score for image in images]
    reviewed = decisions.answer(subject.int8, bundle.manifest, images).scores[:, 0]
    assert reviewed == pytest.approx(device, abs=1e-3)
    assert reviewed != pytest.approx([float(subject.int8(image)["score"].flat[0]) for image in images], abs=1e-3)


@pytest.mark.parametrize(
    ("areas", "message"),
    [
        (AREA.replace("[0.4, 0.4]", "[7, 0.4]"), "inspect.areas.label"),
        (AREA + AREA.split("\n", 3)[3], "same name"),
        (AREA.replace('"none"', '"none"\nregion = [[0.5, 0.5], [1, 0.5], [1, 1], [0.5, 1]]'), "sees nothing of label"),
        (
            '\n[inspect]\nalign = "none"\n[[inspect.areas]]\nname = "all"\n'
            "polygon = [[0,0],[1,0],[1,1],[0,1]]\nignore = true\n",
            "whole picture is ignored",
        ),
    ],
)
def test_useless_areas_are_a_clear_error(anomaly_images, build_bundle, tmp_path, areas, message):
    text = GOAL.replace('"good"', f'"{anomaly_images}/good"').replace('"defect"', f'"{anomaly_images}/defect"')
    (tmp_path / "goal.toml").write_text(text + areas)
    with pytest.raises(ConfigProblem, match=message):
        build_bundle(tmp_path / "goal.toml", tmp_path / "out")
    assert not (tmp_path / "out" / "weave.vedette").exists()
