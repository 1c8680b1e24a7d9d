"""Release N+1 from corrections: what joins what, both releases side by side, and a threshold from scores of the box."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from products import texture_image, write_goal_for
from shared_build import made_once

from vedette.compress.evaluation.previous_release import open_previous
from vedette.compress.goal.goal_reader import read_goal
from vedette.deploy.feedback.corrections_folder import TABLE, Correction, render_table
from vedette.runtime.bundle.keys import read_private_key
from vedette.runtime.errors import ConfigProblem

pytestmark = [pytest.mark.build, pytest.mark.slow]  # two builds


def write_corrections(folder: Path) -> None:
    """Good parts of four days under other light, and scratches."""
    rows = []
    for day in range(1, 5):
        for number in range(4):
            verdict = "right" if number == 3 else "false_alarm"
            name = f"{verdict}/{day}{number}.jpg"
            (folder / verdict).mkdir(parents=True, exist_ok=True)
            image = cv2.convertScaleAbs(texture_image(3000 + 10 * day + number, verdict == "right"), alpha=1.15)
            cv2.imwrite(str(folder / name), image)
            date = f"2026-11-0{day}"
            rows.append(Correction(name, f"e{day}{number}", "door", date, "m", "9", verdict, "", "kim", "0", "yes", ""))
    (folder / TABLE).write_bytes(render_table(rows))


@pytest.fixture(scope="module")
def next_build(anomaly_images, anomaly_build, build_bundle, tmp_path_factory):
    """A second release of the texture, from corrections, with the threshold from scores of the first."""

    def build(folder: Path):
        write_corrections(folder / "corrections")
        goal = write_goal_for(anomaly_images, folder, ("[goal]", 'corrections = "corrections"\n[goal]'))
        return build_bundle(goal, folder / "out", previous=anomaly_build.bundle)

    return made_once(tmp_path_factory, "next-build", build)


def test_corrections_join_and_the_test_images_stay(next_build, anomaly_build):
    before, after = (
        json.loads(each.report.with_suffix(".json").read_text())["split"] for each in (anomaly_build, next_build)
    )
    taught = {name for name in after["fit"] if name.startswith("corrections/")}
    assert len(taught) == 9  # three of each day but the second
    assert len(after["known"]) == 3
    assert {Path(name).name for name in after["corrections_good"]} == {"20.jpg", "21.jpg", "22.jpg"}
    assert len(after["corrections_defective"]) == 1
    for part in ("calibrate", "threshold", "test", "defect"):
        assert [Path(each).name for each in after[part]] == [Path(each).name for each in before[part]]


def test_both_releases_stand_side_by_side(next_build, anomaly_build):
    assert next_build.manifest.release == anomaly_build.manifest.release + 1
    comparison = json.loads(next_build.report.with_suffix(".json").read_text())["comparison"]
    assert comparison == json.loads(json.dumps(next_build.to_json()["comparison"]))
    assert comparison["previous"] == anomaly_build.manifest.model_id
    assert comparison["outcome"] == "not shown"  # a dozen images show nothing
    by_title = {each["title"]: each for each in comparison["measures"]}
    measured = anomaly_build.manifest.measured
    alarms = by_title["false alarms on good test images"]
    assert (alarms["previous"], alarms["images"]) == (measured["false_alarms"], measured["images"]["test_good"])
    misses = by_title["misses on defective test images"]
    assert misses["previous"] == round((1 - measured["detection_rate"]) * misses["images"])
    assert misses["new"] == round((1 - next_build.manifest.measured["detection_rate"]) * misses["images"])
    assert by_title["false alarms that were kept aside"]["images"] == 3
    page = next_build.report.read_text()
    assert "It is not shown that the new release is better" in page
    assert "false alarms that were kept aside" in page


def test_a_build_without_a_previous_release_mentions_none(anomaly_build):
    assert "comparison" not in json.loads(anomaly_build.report.with_suffix(".json").read_text())
    assert "Beside release" not in anomaly_build.report.read_text()


def test_a_release_of_another_product_is_refused(anomaly_images, anomaly_build, key_folder, tmp_path):
    goal = read_goal(write_goal_for(anomaly_images, tmp_path, ('"weave"', '"cloth"')))
    with pytest.raises(ConfigProblem, match="it is weave of the task anomaly, the goal names cloth"):
        open_previous(anomaly_build.bundle, read_private_key(key_folder / "vedette.key"), goal)


def test_scores_of_the_box_set_the_threshold_of_the_same_model(anomaly_images, anomaly_build, build_bundle, tmp_path):
    model = anomaly_build.manifest.model_id
    lines = [f"2026-11-{1 + n % 28:02}T08:00:00Z,door,{model},{2 + n / 1000},0" for n in range(600)]
    (tmp_path / "scores.csv").write_text("\n".join(["time,camera,model,score,alarm", *lines]) + "\n")
    goal = write_goal_for(anomaly_images, tmp_path, ("[goal]", 'score_log = "scores.csv"\n[goal]'))
    built = build_bundle(goal, tmp_path / "out")
    assert built.manifest.model_id == model  # the same images and goal give the same file
    assert 2.5 < built.manifest.threshold < 2.6
    assert built.manifest.threshold != anomaly_build.manifest.threshold
    assert built.manifest.good_scores is not None
    assert built.manifest.good_scores.images == 600
    assert "scores of good parts on the box" in built.report.read_text()
