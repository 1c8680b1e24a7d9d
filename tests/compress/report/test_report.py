"""The report's evidence: what integers cost, layer after layer and picture by picture, and the page that shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.compress.evaluation import disagreement
from vedette.compress.evaluation.anomaly_scoring import Seen
from vedette.compress.evaluation.confidence_calibration import Confidence
from vedette.compress.evaluation.disagreement import SHOWN, Pair
from vedette.compress.report import anomaly_page, classify_page, imported_page

# Pictures


pairs = st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=30).map(
    lambda rows: [Pair(n, Path(f"{n}.png"), "a", "b", differs, gap) for n, (differs, gap) in enumerate(rows)]
)


@given(pairs)
def test_what_differs_comes_first_and_none_of_it_is_left_out(rows):
    found = disagreement.between(rows, "so")
    assert found.images == len(rows)
    assert found.differing == sum(pair.differs for pair in rows)
    assert all(pair.differs for pair in found.pairs[: found.differing])
    assert len(found.pairs) == min(len(rows), max(SHOWN, found.differing))
    kept = {pair.place for pair in found.pairs}
    others = [pair.gap for pair in found.pairs[found.differing :]]
    assert others == sorted(others, reverse=True)
    assert all(pair.gap <= min(others, default=5) for pair in rows if pair.place not in kept)


def test_the_sentence_says_whether_they_agree():
    rows = [Pair(n, Path(f"{n}.png"), "a", "b", False, 0.1 * n) for n in range(9)]
    assert disagreement.between(rows, "so").statement.startswith("On all 9 test images int8 answers as float does, so.")
    rows[3] = msgspec.structs.replace(rows[3], differs=True)
    assert disagreement.between(rows, "so").statement.startswith("On 1 of 9 test images int8 answers otherwise")
    assert "no test images" in disagreement.between([], "so").statement


def test_scores_are_held_against_the_threshold_of_their_own_model(built):
    """Int8 scores are twice the float ones, and so is its threshold: only the one that was moved differs."""
    line = msgspec.convert(built.manifest.measured["threshold"], anomaly_page.Threshold)
    good, defect = len(built.split.test), len(built.split.defect)
    fp32 = np.linspace(0.2, 0.8, good), np.linspace(1.2, 1.8, defect)
    int8 = tuple(2 * each for each in fp32)
    int8[1][4] = 1.9
    maps = [np.zeros((4, 4), np.float32)] * max(good, defect)
    seen = {name: tuple(Seen(maps, each) for each in scores) for name, scores in (("fp32", fp32), ("int8_onnx", int8))}
    lines = (msgspec.structs.replace(line, score=2.0), msgspec.structs.replace(line, score=1.0))
    found = anomaly_page.evidence(built.split, seen, *lines)
    assert found["apart"].differing == 1
    worst = found["apart"].pairs[0]
    assert worst.path == built.split.defect[4]
    assert worst.int8 == "1.9, 0.95 of the threshold"
    assert worst.fp32.endswith(f"{fp32[1][4]:.2f} of the threshold")
    assert all(pair.gap < 1e-6 for pair in found["apart"].pairs[1:])
    assert all(each["image"].startswith("data:image/jpeg") for each in found["apart_pictures"])


def test_a_class_that_changes_and_an_answer_that_becomes_unknown_differ(kinds):
    paths = sorted((kinds / "kinds" / "good").iterdir())[:3]
    fp32 = np.array([[4.0, 0.0], [0.0, 4.0], [1.2, 0.0]])
    int8 = np.array([[3.9, 0.0], [4.0, 0.0], [0.8, 0.0]])
    line = Confidence(1.0, 0.72, 0.05, 0.05, 10, 1.0)
    found = classify_page.disagreement(paths, ["dog", "cat"], (fp32, int8), (line, line))["apart"]
    assert found.differing == 2
    assert [pair.place for pair in found.pairs] == [1, 2, 0]
    assert (found.pairs[0].fp32, found.pairs[0].int8) == ("cat 0.982", "dog 0.982")
    assert (found.pairs[1].fp32, found.pairs[1].int8) == ("dog 0.769", "unknown (dog 0.690)")
    assert classify_page.disagreement(paths, ["dog", "cat"], (fp32, int8), None)["apart"].differing == 1


def test_an_embedding_differs_where_the_nearest_picture_is_another(kinds):
    paths = sorted((kinds / "kinds" / "good").iterdir())[:4]
    real = np.array([[1.0, 0.0], [0.9, 0.2], [0.0, 1.0], [0.2, 0.9]])
    rounded = real.copy()
    rounded[1] = [0.3, 0.9]  # now beside the last, and nearer to it than the one before
    found = imported_page.neighbours(paths, real, rounded)["apart"]
    assert {pair.place for pair in found.pairs if pair.differs} == {1, 3}
    assert next(pair for pair in found.pairs if pair.place == 1).int8 == f"nearest {paths[3].name}"
    assert imported_page.neighbours(paths, real, real)["apart"].differing == 0


# The page


def test_the_page_tells_goal_and_verdict_first_and_then_the_evidence(built):
    page = built.report.read_text()
    order = (
        "The goal is met.",
        "From float to int8",
        "Scores",
        "float and int8 disagree",
        "Layers that suffer",
        "Proven",
    )
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    assert len(page) < 1_500_000


def test_programs_are_told_the_same(built, built_kinds):
    for each in (built, built_kinds):
        facts = json.loads(each.report.with_suffix(".json").read_text())
        moved = [layer["moved"] for layer in facts["noise"]["layers"]]
        assert moved == sorted(moved, reverse=True)
        assert len(moved) > 10
        tests = len(facts["split"]["test"]) + len(facts["split"].get("defect", []))
        assert facts["disagreement"]["images"] == tests
        named = {pair["image"] for pair in facts["disagreement"]["pairs"]}
        assert named <= {*facts["split"]["test"], *facts["split"].get("defect", [])}
        last = facts["stages"][-1]
        assert last["title"] == "int8 TFLite"
        assert last["bytes"] == facts["bytes_int8_tflite"]
        assert last["effort"] == facts["macs"]
        assert facts["steps"] == []


PROBE = """<script>addEventListener("load", () => {
  const broken = [...document.images].filter(image => !image.naturalWidth).length;
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.title = `probe images ${document.images.length} broken ${broken} wide ${wide}`;
});</script>"""


@pytest.mark.parametrize("width", [420, 1280])
def test_a_browser_shows_every_picture_and_nothing_sticks_out(built, built_kinds, width, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium to look at the page with")
    for each in (built, built_kinds):
        page = tmp_path / each.report.name
        page.write_text(each.report.read_text() + PROBE)
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += [f"--window-size={width},900", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        found = re.search(r"<title>probe images (\d+) broken (\d+) wide (-?\d+)</title>", done.stdout)
        assert found, done.stdout[:500]
        assert int(found[1]) >= SHOWN
        assert int(found[2]) == 0
        assert int(found[3]) <= 0
