"""How parts move is found from good images; where nothing moves as one part, nothing is aligned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bracket import draw_bracket
from products import texture_image

from vedette.compress import build as builds
from vedette.compress.data import part_alignment
from vedette.compress.data.split import Split
from vedette.compress.goal.inspection_settings import InspectionSettings
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring, generate_key_pair, read_private_key
from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.bundle_verification import verify_bundle
from vedette.runtime.inference import heads
from vedette.runtime.inference.backends import load_backend
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.progress import no_log, no_progress

GOAL = """\
name = "bracket"
task = "anomaly"
[data]
good = "good"
defect = "defect"
[goal]
min_auroc = 0.9
[model]
detector = "padim"
input = 96
blocks = [2, 4]
"""


def write_images(folder: Path, count: int, draw: Callable[[np.random.Generator, int], Any]) -> list[Path]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:02d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), draw(rng, number))
    return paths


def moving(rng: np.random.Generator, number: int, scratched: bool = False) -> Any:
    shift, angle = rng.uniform(-20, 20, 2), rng.uniform(-12, 12)
    return draw_bracket(tuple(shift), float(angle), seed=number, scratched=scratched)


@pytest.mark.parametrize(
    ("draw", "motion"),
    [
        (moving, "rigid"),
        (lambda rng, number: draw_bracket(tuple(rng.uniform(-20, 20, 2)), seed=number), "translation"),
        (lambda rng, number: draw_bracket((0, 0), float(rng.uniform(-180, 180)), seed=number), "rigid"),
        (lambda rng, number: draw_bracket(scale=float(rng.uniform(0.85, 1.15)), seed=number), "similarity"),
        (lambda _, number: draw_bracket(seed=number), None),
        (lambda _, number: texture_image(number, scratched=False), None),
        (lambda rng, _: rng.integers(0, 255, (80, 80, 3)).astype(np.uint8), None),
    ],
    ids=["shifted and turned", "shifted", "turned all round", "scaled", "still", "texture", "noise"],
)
def test_motion_is_found_from_good_images(tmp_path: Path, draw: Any, motion: str | None) -> None:
    paths = write_images(tmp_path / "good", 12, draw)
    inspector, evidence = part_alignment.fit_inspector(InspectionSettings(), paths, no_progress, no_log)
    if motion is None:
        assert (inspector, evidence) == (None, None)
        return
    assert inspector is not None
    assert inspector.settings.alignment is not None
    assert evidence is not None
    assert inspector.settings.alignment.motion == motion
    assert evidence.improved >= 0.9 * evidence.images
    assert evidence.correlation_after > 0.9


def test_small_part_in_a_large_frame_is_cut_out(tmp_path: Path) -> None:
    def draw(rng: np.random.Generator, number: int) -> Any:
        frame = (60 + rng.normal(0, 3, (480, 600, 3))).astype(np.uint8)
        left, top = int(rng.integers(150, 250)), int(rng.integers(120, 200))
        frame[top : top + 160, left : left + 200] = draw_bracket(seed=number)
        return frame

    paths = write_images(tmp_path / "good", 12, draw)
    inspector, _ = part_alignment.fit_inspector(InspectionSettings(), paths, no_progress, no_log)
    assert inspector is not None
    (left, top), (right, bottom) = inspector.settings.region[0], inspector.settings.region[2]
    # The bracket is 80 x 90 of 600 x 480 pixels.
    assert 80 / 600 <= right - left <= 0.25
    assert 90 / 480 <= bottom - top <= 0.35
    whole, _ = part_alignment.fit_inspector(InspectionSettings(region="all"), paths, no_progress, no_log)
    assert whole is not None
    assert whole.settings.region == ()


def test_images_without_the_part_fit_nothing_but_are_still_tested(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "good", 16, moving)
    inspector, _ = part_alignment.fit_inspector(InspectionSettings(), paths, no_progress, no_log)
    assert inspector is not None
    for path in (paths[0], paths[8], paths[12]):
        cv2.imwrite(str(path), np.full((160, 200, 3), 60, np.uint8))
    lines: list[str] = []
    split = Split(paths[:8], paths[8:10], paths[10:12], paths[12:], [], {})
    kept = part_alignment.leave_out_unaligned(split, inspector, no_progress, lines.append)
    assert (kept.fit, kept.calibrate) == (paths[1:8], paths[9:10])
    assert (kept.threshold, kept.test) == (split.threshold, split.test)
    assert kept.set_aside == [paths[0], paths[8]]
    assert any("part was not found" in line for line in lines)
    for path in paths[:8]:
        cv2.imwrite(str(path), np.full((160, 200, 3), 60, np.uint8))
    with pytest.raises(ConfigProblem, match="too few good images"):
        part_alignment.leave_out_unaligned(split, inspector, no_progress, no_log)


@pytest.mark.slow
def test_bundle_aligns_and_never_calls_a_missing_part_good(tmp_path: Path) -> None:
    write_images(tmp_path / "good", 32, moving)
    write_images(tmp_path / "defect", 8, lambda rng, number: moving(rng, 100 + number, scratched=True))
    (tmp_path / "goal.toml").write_text(GOAL)
    key, _ = generate_key_pair(tmp_path)
    request = builds.BuildRequest(tmp_path / "goal.toml", tmp_path / "out", read_private_key(key))
    built = builds.build(request)
    assert built.results.metrics.by_model["int8_onnx"].value == 1.0

    bundle = Bundle.open(built.bundle, Keyring.read(tmp_path))
    assert bundle.manifest.labels == ("anomaly", "error")
    report = verify_bundle(bundle, tmp_path)
    assert report.verified
    assert report.auroc_int8_onnx == report.auroc_int8_tflite
    backend = load_backend("onnx", bundle)
    pipeline = InferencePipeline(bundle, backend, heads.load_head(bundle.manifest))
    nothing = pipeline.predict(0.0, np.full((160, 200, 3), 60, np.uint8))
    assert nothing is not None
    assert nothing[0].label == "error"
    assert nothing[0].score >= bundle.manifest.threshold
    # The box of a scratch lies where the scratch is, although the part is shifted.
    scratched = pipeline.predict(1.0, draw_bracket((24, 14), seed=5, scratched=True))
    assert scratched is not None
    assert scratched[0].label == "anomaly"
    assert (box := scratched[0].box) is not None
    x, y = (100 + 24 - 25) / 200, (80 + 14 + 1) / 160
    assert box.left <= x <= box.right
    assert box.top <= y <= box.bottom
    still = pipeline.predict(2.0, image_files.read_image(tmp_path / "good" / "03.png"))
    assert still is not None
    assert still[0].label == "anomaly"
