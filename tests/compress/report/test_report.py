"""The report: disagreement of float and int8 by image, quantization error by layer, and the page."""

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
from vedette.compress.evaluation.anomaly_scoring import ImageScores
from vedette.compress.evaluation.confidence_and_reject_threshold import ConfidenceThreshold
from vedette.compress.evaluation.conformal_threshold import AnomalyThreshold
from vedette.compress.evaluation.disagreement import MAX_SHOWN, ImageComparison
from vedette.compress.report import anomaly_page, classify_page, imported_page

# Disagreement


comparisons = st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=30).map(
    lambda rows: [ImageComparison(n, Path(f"{n}.png"), "a", "b", differs, gap) for n, (differs, gap) in enumerate(rows)]
)


@given(comparisons)
def test_all_differing_images_are_listed_first(rows):
    ranked = disagreement.rank_comparisons(rows, "so")
    assert ranked.images == len(rows)
    assert ranked.differing == sum(each.differs for each in rows)
    assert all(each.differs for each in ranked.comparisons[: ranked.differing])
    assert len(ranked.comparisons) == min(len(rows), max(MAX_SHOWN, ranked.differing))
    listed = {each.index for each in ranked.comparisons}
    others = [each.gap for each in ranked.comparisons[ranked.differing :]]
    assert others == sorted(others, reverse=True)
    assert all(each.gap <= min(others, default=5) for each in rows if each.index not in listed)


def test_statement_says_how_many_images_differ():
    rows = [ImageComparison(n, Path(f"{n}.png"), "a", "b", False, 0.1 * n) for n in range(9)]
    statement = disagreement.rank_comparisons(rows, "so").statement
    assert statement.startswith("On all 9 test images int8 gives the same answer as float, so.")
    rows[3] = msgspec.structs.replace(rows[3], differs=True)
    statement = disagreement.rank_comparisons(rows, "so").statement
    assert statement.startswith("On 1 of 9 test images int8 gives another answer than float, so.")
    assert "no test images" in disagreement.rank_comparisons([], "so").statement


def test_scores_are_compared_with_the_threshold_of_their_own_model(anomaly_build):
    """Int8 scores are twice the float ones, and so is its threshold: only the one that was changed differs."""
    threshold = msgspec.convert(anomaly_build.manifest.measured["threshold"], AnomalyThreshold)
    split = anomaly_build.split
    fp32 = np.linspace(0.2, 0.8, len(split.test)), np.linspace(1.2, 1.8, len(split.defect))
    int8 = tuple(2 * scores for scores in fp32)
    int8[1][4] = 1.9
    maps = [np.zeros((4, 4), np.float32)] * max(len(split.test), len(split.defect))
    scored = {
        model: tuple(ImageScores(maps, scores) for scores in pair)
        for model, pair in (("fp32", fp32), ("int8_onnx", int8))
    }
    thresholds = (msgspec.structs.replace(threshold, score=2.0), msgspec.structs.replace(threshold, score=1.0))
    section = anomaly_page.anomaly_context(split, scored, *thresholds).disagreement
    assert section.disagreement.differing == 1
    worst = section.disagreement.comparisons[0]
    assert worst.path == split.defect[4]
    assert worst.int8 == "1.9, 0.95 of the threshold"
    assert worst.fp32.endswith(f"{fp32[1][4]:.2f} of the threshold")
    assert all(each.gap < 1e-6 for each in section.disagreement.comparisons[1:])
    assert all(image.data_url.startswith("data:image/jpeg") for image in section.images)


def test_another_class_and_an_unknown_answer_differ(class_images):
    paths = sorted((class_images / "kinds" / "good").iterdir())[:3]
    fp32 = np.array([[4.0, 0.0], [0.0, 4.0], [1.2, 0.0]])
    int8 = np.array([[3.9, 0.0], [4.0, 0.0], [0.8, 0.0]])
    threshold = ConfidenceThreshold(1.0, 0.72, 0.05, 0.05, 10, 1.0)
    compare = classify_page.compare_answers
    ranked = compare(paths, ["dog", "cat"], (fp32, int8), (threshold, threshold)).disagreement
    assert ranked.differing == 2
    assert [each.index for each in ranked.comparisons] == [1, 2, 0]
    first, second, _ = ranked.comparisons
    assert (first.fp32, first.int8) == ("cat 0.982", "dog 0.982")
    assert (second.fp32, second.int8) == ("dog 0.769", "unknown (dog 0.690)")
    assert compare(paths, ["dog", "cat"], (fp32, int8), None).disagreement.differing == 1


def test_embeddings_differ_if_the_nearest_image_is_another(class_images):
    paths = sorted((class_images / "kinds" / "good").iterdir())[:4]
    fp32 = np.array([[1.0, 0.0], [0.9, 0.2], [0.0, 1.0], [0.2, 0.9]])
    int8 = fp32.copy()
    int8[1] = [0.3, 0.9]  # now beside the last, and nearer to it than the one before
    ranked = imported_page.compare_nearest(paths, fp32, int8).disagreement
    assert {each.index for each in ranked.comparisons if each.differs} == {1, 3}
    assert next(each for each in ranked.comparisons if each.index == 1).int8 == f"nearest {paths[3].name}"
    assert imported_page.compare_nearest(paths, fp32, fp32).disagreement.differing == 0


# The page


def test_page_shows_the_verdict_before_the_evidence(anomaly_build):
    page = anomaly_build.report.read_text()
    order = (
        "The goal is not proven",
        "From float to int8",
        "Scores",
        "Thresholds",
        "float and int8 disagree",
        "Quantization error by layer",
        "Provenance",
    )
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    assert len(page) < 1_500_000


def test_report_json_has_the_content_of_the_page(anomaly_build, class_build):
    for built in (anomaly_build, class_build):
        report = json.loads(built.report.with_suffix(".json").read_text())
        changes = [layer["moved"] for layer in report["noise"]["layers"]]
        assert changes == sorted(changes, reverse=True)
        assert len(changes) > 10
        test_images = {*report["split"]["test"], *report["split"].get("defect", [])}
        assert report["disagreement"]["images"] == len(test_images)
        assert {pair["image"] for pair in report["disagreement"]["pairs"]} <= test_images
        last = report["stages"][-1]
        assert last["title"] == "int8 TFLite"
        assert last["bytes"] == report["bytes_int8_tflite"]
        assert last["effort"] == report["macs"]
        assert report["steps"] == []


PROBE = """<script>addEventListener("load", () => {
  const broken = [...document.images].filter(image => !image.naturalWidth).length;
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.title = `probe images ${document.images.length} broken ${broken} wide ${wide}`;
});</script>"""


@pytest.mark.parametrize("width", [420, 1280])
def test_browser_shows_every_image_within_the_page(anomaly_build, class_build, width, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    for built in (anomaly_build, class_build):
        page = tmp_path / built.report.name
        page.write_text(built.report.read_text() + PROBE)
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += [f"--window-size={width},900", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        found = re.search(r"<title>probe images (\d+) broken (\d+) wide (-?\d+)</title>", done.stdout)
        assert found, done.stdout[:500]
        assert int(found[1]) >= MAX_SHOWN
        assert int(found[2]) == 0
        assert int(found[3]) <= 0
