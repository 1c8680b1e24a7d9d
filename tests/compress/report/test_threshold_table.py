"""The table of thresholds, and the line that the reader of a report moves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.compress.report.threshold_table import list_thresholds

scores = st.lists(st.integers(0, 40).map(float), max_size=60).map(np.array)


@settings(max_examples=30)  # each takes a tenth of a second: an interval for each row
@given(scores, scores, st.floats(0, 50))
def test_rows_count_the_images_at_or_above_their_threshold(good, defect, chosen):
    rows = list_thresholds(good, defect, chosen)
    if not len(good) and not len(defect):
        assert rows == []
        return
    assert [row.threshold for row in rows] == sorted({row.threshold for row in rows}, reverse=True)
    assert any("of the bundle" in row.what and row.threshold == chosen for row in rows)
    for row in rows:
        assert row.false_alarms == (good >= row.threshold).sum()
        assert row.detected == (defect >= row.threshold).sum()
        for text in row.what.split(", "):
            if text == "no false alarms":
                assert row.false_alarms == 0
            elif "false alarm" in text:
                assert row.false_alarms <= int(text.split()[0])
            elif text == "no defect missed":
                assert row.detected == len(defect)
            elif text == "best F1":
                assert row.f1 == max(each.f1 for each in rows)


@settings(max_examples=30)
@given(scores.filter(len), scores.filter(len))
def test_no_lower_threshold_has_as_few_false_alarms(good, defect):
    row = next(row for row in list_thresholds(good, defect, 1.0) if "no false alarms" in row.what)
    lower = [level for level in np.concatenate([good, defect]) if level < row.threshold]
    assert all((good >= level).any() for level in lower)


def test_report_lists_the_thresholds_for_programs(anomaly_build):
    report = json.loads(anomaly_build.report.with_suffix(".json").read_text())
    own = next(row for row in report["thresholds"] if "of the bundle" in row["what"])
    assert own["false_alarms"] == report["false_alarms"]
    assert own["detection_rate"] == report["detection_rate"]
    assert own["threshold"] == anomaly_build.manifest.threshold
    assert max(row["f1"] for row in report["thresholds"]) == pytest.approx(report["best_f1"])


PROBE = """<script>addEventListener("load", () => {
  const texts = [], effect = document.getElementById("effect"), line = document.getElementById("line");
  const mark = document.getElementById("threshold-line");
  const note = () => texts.push(effect.textContent + " | " + mark.getAttribute("x1"));
  note();
  for (const level of [0, line.max]) { line.value = level; line.dispatchEvent(new Event("input")); note(); }
  const rows = document.querySelectorAll("#thresholds tr[data-threshold]");
  for (const row of rows) { row.click(); note(); }
  document.getElementById("reset").click(); note();
  document.title = "probe " + texts.join(" / ");
});</script>"""


def test_reader_moves_the_line_in_a_browser_without_a_network(anomaly_build, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    page = tmp_path / "report.html"
    page.write_text(anomaly_build.report.read_text() + PROBE)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"<title>probe (.*?)</title>", done.stdout)
    assert found, done.stdout[:500]
    first, lowest, highest, *rows, last = found[1].split(" / ")
    report = json.loads(anomaly_build.report.with_suffix(".json").read_text())
    good, defect = report["images"]["test_good"], report["images"]["test_defect"]
    assert f"alarm for {good} of {good} good parts (100.0 %" in lowest
    assert f"found: {defect} of {defect} defective parts" in lowest
    assert f"alarm for 0 of {good} good parts" in highest
    assert float(lowest.rpartition(" | ")[2]) == 10
    assert float(highest.rpartition(" | ")[2]) == 410
    assert first == last, "the button leads back to the threshold of the bundle"
    for text, row in zip(rows, report["thresholds"], strict=True):
        assert f"alarm for {row['false_alarms']} of {good} good parts" in text
        assert f"found: {row['detected']} of {defect} defective parts" in text
