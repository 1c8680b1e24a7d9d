"""A build of a golden sample from a few pictures of a printed label."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

GOAL = """\
name = "label"
task = "anomaly"
[data]
good = "good"
test = "fixed"
[goal]
min_auroc = 0.9
[model]
detector = "golden"
input = 128
references = ["0.png", "2.png"]
"""


def draw_label(rng, missing=False):
    """A label with twelve printed bars, of which one may be missing: 128 x 128 x 3, uint8."""
    image = np.full((128, 128, 3), 200.0) * rng.uniform(0.97, 1.03) + rng.normal(0, 2, (128, 128, 1))
    left_out = int(rng.integers(12)) if missing else -1
    for bar in range(12):
        if bar != left_out:
            left, top = 12 + 30 * (bar % 4), 14 + 40 * (bar // 4)
            cv2.rectangle(image, (left, top), (left + 10 + bar % 3 * 3, top + 14), (40, 60, 50), -1)
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.slow
def test_a_golden_sample_finds_what_is_missing_from_a_print(tmp_path, build_bundle):
    rng = np.random.default_rng(0)
    for folder, count, missing in (("good", 4, False), ("fixed/good", 10, False), ("fixed/defect", 10, True)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), draw_label(rng, missing))
    (tmp_path / "goal.toml").write_text(GOAL)
    result = build_bundle(tmp_path / "goal.toml", tmp_path / "out")
    assert result.verdict.met
    measured = result.manifest.measured
    assert (measured["detector"], tuple(measured["blocks"])) == ("golden", (2, 4))
    assert measured["parity_max_steps"] <= 1
    assert measured["detection_rate"] >= 0.9
    assert measured["false_alarms"] <= 1
    references = json.loads((tmp_path / "out" / "label.json").read_text())["split"]["references"]
    assert [path.rsplit("/")[-1] for path in references] == ["0.png", "2.png"]
