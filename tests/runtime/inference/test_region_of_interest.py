"""The region of interest: where detections and the cells of an anomaly map count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from altered_bundles import stored_bundle
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Alignment, BoxDecoding, Inspection
from vedette.runtime.config.configuration import load_config
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.heads import load_head
from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.inference.part_aligner import Placement
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.inference.region_of_interest import RegionOfInterest, check_region
from vedette.runtime.rules.rule_set import RuleSet

LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
RIGHT = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
EDGE = ((0.0, 0.0), (0.2, 0.0), (0.2, 1.0))
FRAME = np.zeros((64, 64, 3), np.uint8)


class ConstantBackend:
    """Gives the same outputs for each frame."""

    version, is_float = "constant", False

    def __init__(self, outputs: dict[str, NDArray[np.uint8]]) -> None:
        self.outputs = outputs

    def run(self, _tensor: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
        return self.outputs


def predict(region: Any) -> tuple[Prediction, NDArray[np.float32]]:
    """The stored model says: an anomaly on the right, a weaker one on the left."""
    bundle = stored_bundle()
    score, cells = bundle.manifest.output("score"), bundle.manifest.output("map")
    anomaly_map = np.full(cells.shape, 20, np.uint8)
    rows, columns = cells.shape[-2:]
    anomaly_map[..., rows // 2, columns - 2], anomaly_map[..., rows // 2, 1] = 240, 120
    outputs = {"map": anomaly_map, "score": np.full(score.shape, 240, np.uint8)}
    pipeline = InferencePipeline(bundle, ConstantBackend(outputs), load_head(bundle.manifest), region)
    (found,) = pipeline.predict(0.0, FRAME) or ()
    assert (pipeline.drift is None) == bool(region or bundle.manifest.good_scores is None)
    heat_map = pipeline.heat_map(FRAME.shape[:2])
    assert heat_map is not None
    return found, heat_map


def test_cells_outside_of_the_region_do_not_count() -> None:
    whole, left, right = (predict(region) for region in ((), LEFT, RIGHT))
    scale = stored_bundle().manifest.output("score").scale
    assert right[0].score == whole[0].score
    assert left[0].score == pytest.approx(whole[0].score - 120 * scale, abs=scale)
    assert whole[0].box is not None
    assert whole[0].box.left > 0.5
    columns = left[1].shape[1]
    assert np.isnan(left[1][:, columns // 2 + 1 :]).all()
    assert not np.isnan(left[1][:, : columns // 2 - 1]).any()
    assert not np.isnan(whole[1]).any()


@pytest.mark.parametrize("seed", range(5))
def test_a_score_is_never_higher_than_without_the_region(seed: int) -> None:
    manifest = stored_bundle().manifest
    shape = manifest.output("map").shape
    values = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    outputs = {"map": values, "score": values.max().reshape(manifest.output("score").shape)}
    (whole,) = load_head(manifest)(outputs)
    head = load_head(manifest)
    head.count_only(RegionOfInterest(LEFT, manifest).cells)  # type: ignore[attr-defined]
    assert head(outputs)[0].score <= whole.score


def test_the_region_stays_in_the_frame_while_the_part_moves() -> None:
    """The part lies turned by half a turn: what the model sees on its left is on the right of the frame."""
    manifest = stored_bundle().manifest
    settings = Inspection(alignment=Alignment("rigid", "reference.png", 0.1, 180.0, 0.0, 0.5))
    inspector = Inspector(settings, cv2.resize(np.eye(64, dtype=np.uint8)[..., None].repeat(3, 2) * 255, (128, 128)))
    region = RegionOfInterest(LEFT, msgspec.structs.replace(manifest, inspect=settings), inspector)
    upright = region.cells_at(Placement(np.eye(2, 3), 1.0, True))
    turned = region.cells_at(Placement(np.array([[-1.0, 0, 1], [0, -1, 1]]), 1.0, True))
    assert upright[:, :2].all()
    assert not upright[:, -2:].any()
    assert turned[:, -2:].all()
    assert not turned[:, :2].any()


def test_a_detection_counts_where_it_stands() -> None:
    region = RegionOfInterest(LEFT, msgspec.structs.replace(stored_bundle().manifest, boxes=BoxDecoding("yolox", 0.5)))
    assert region.contains(Box(0.2, 0.1, 0.6, 0.9))
    assert not region.contains(Box(0.6, 0.1, 0.9, 0.9))
    foot = ((0.0, 0.6), (1.0, 0.6), (1.0, 1.0), (0.0, 1.0))
    region = RegionOfInterest(foot, msgspec.structs.replace(stored_bundle().manifest, boxes=BoxDecoding("yolox", 0.5)))
    assert region.contains(Box(0.2, 0.1, 0.4, 0.7))
    assert not region.contains(Box(0.2, 0.1, 0.4, 0.5))


def test_detections_outside_of_the_region_go_no_further() -> None:
    bundle = stored_bundle()
    inside, outside = (Prediction("person", 0.9, Box(left, 0.1, left + 0.2, 0.5)) for left in (0.2, 0.7))
    outputs = {each.name: np.zeros(each.shape, np.uint8) for each in bundle.manifest.outputs}
    detector = InferencePipeline(bundle, ConstantBackend(outputs), lambda *_: (outside, inside), LEFT)
    detector.drift = None
    assert detector.predict(0.0, FRAME) == (inside,)
    assert detector.found == (outside, inside), "what is hidden in pictures lies outside, too"


def test_what_cannot_have_a_region_is_refused(tmp_path: Path) -> None:
    manifest = stored_bundle().manifest
    sees_right = msgspec.structs.replace(manifest, inspect=Inspection(region=RIGHT))
    with pytest.raises(ConfigProblem, match="no cell of the model's map"):
        check_region(EDGE, sees_right)
    check_region(EDGE, manifest)
    places = tuple(each for each in manifest.outputs if each.name != "map")
    with pytest.raises(ConfigProblem, match="says nothing about places"):
        check_region(LEFT, msgspec.structs.replace(manifest, outputs=places))
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text("")
    file = tmp_path / "cameras" / "door.toml"
    for points, expected in (("[[0, 0], [1, 1]]", "two|three"), ("[[0, 0], [2, 0], [1, 1]]", "outside the picture")):
        file.write_text(f'source = "file:x"\nbundle = "x.vedette"\nregion = {points}\n')
        with pytest.raises(ConfigProblem, match=expected):
            load_config(tmp_path, "door")
    region = f"region = {[list(each) for each in EDGE]}"
    file.write_text(f'source = "file:x"\nbundle = "x.vedette"\n{region}\n[[rules]]\nuse = "presence"\n')
    with pytest.raises(ConfigProblem, match="no cell"):
        RuleSet(load_config(tmp_path, "door"), sees_right)
