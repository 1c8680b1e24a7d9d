"""`vedette study`: from a table, and with a bundle that judges pictures of the same parts under several lights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

import cv2
import pytest
from attribute_example import write_csv

if TYPE_CHECKING:
    from vedette.compress.build import BuildResult

Command = Callable[..., CompletedProcess[str]]


def test_the_worked_example_as_text_json_and_page(tmp_path: Path, call_vedette: Command) -> None:
    table, page, copy = write_csv(tmp_path / "gauge.csv"), tmp_path / "gauge.html", tmp_path / "copy.csv"
    done = call_vedette("study", table, "--html", page, "--csv", copy)
    assert done.returncode == 1, done.stderr  # AIAG's example is rejected, for its misses
    assert "A and C: kappa 0.776" in done.stdout
    assert "miss                      12.5 % (6 of 48" in done.stdout
    assert copy.read_text() == table.read_text()
    html = page.read_text()
    assert "The gauge is rejected." in html
    assert "0.776" in html
    assert "http" not in html.replace("http-equiv", "")
    answer = json.loads(call_vedette("study", table, "--json").stdout)
    assert answer["pairs"][0]["kappa"]["value"] == pytest.approx(0.863, abs=5e-4)
    assert answer["limits"]["miss"] == [0.02, 0.05]
    limits = tmp_path / "limits.toml"
    limits.write_text("miss = [0.15, 0.2]\neffectiveness = [0.75, 0.7]\nfalse_alarm = [0.1, 0.2]\n")
    done = call_vedette("study", table, "--limits", limits)
    assert (done.returncode, done.stdout[:6]) == (0, "accept")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("part,decision\n1,ok\n", "no column reference, appraiser, trial"),
        ("part,reference,look,trial,decision\n1,ok,A,1,perhaps\n", "'perhaps' is neither good nor bad"),
        ("part,reference,look,trial,decision\n,ok,A,1,ok\n", "line 2: no part or no appraiser"),
    ],
)
def test_a_wrong_table_is_refused(text: str, words: str, tmp_path: Path, call_vedette: Command) -> None:
    table = tmp_path / "gauge.csv"
    table.write_text(text)
    done = call_vedette("study", table)
    assert done.returncode == 2
    assert words in done.stderr
    assert "remedy" in done.stderr


def test_a_bundle_judges_parts_under_several_lights(
    tmp_path: Path, anomaly_build: BuildResult, key_folder: Path, call_vedette: Command
) -> None:
    for kind, images in (("good", anomaly_build.split.threshold[:6]), ("defect", anomaly_build.split.defect[:6])):
        for number, path in enumerate(images):
            pixels: Any = cv2.imread(str(path))
            for look, gains in (("lit", (1.0, 1.002)), ("dark", (0.4, 0.401))):
                folder = tmp_path / "looks" / kind / f"{number}" / look
                folder.mkdir(parents=True)
                for trial, gain in enumerate(gains):
                    cv2.imwrite(str(folder / f"{trial}.png"), cv2.convertScaleAbs(pixels, alpha=gain))
    arguments = ("study", tmp_path / "looks", "--bundle", anomaly_build.bundle, "--keys", key_folder)
    answer = json.loads(call_vedette(*arguments, "--json").stdout)
    assert (answer["parts"], answer["good"], answer["bad"], answer["trials"]) == (12, 6, 6, 2)
    dark, lit = answer["appraisers"]
    assert (dark["appraiser"], lit["appraiser"]) == ("dark", "lit")
    assert (lit["miss"]["share"], lit["false_alarm"]["share"], lit["judgement"]) == (0, 0, "accept")
    assert (dark["false_alarm"]["share"], dark["judgement"]) == (1, "reject")  # without light every part is odd
    assert answer["judgement"] == "reject"
    refused = call_vedette("study", tmp_path / "looks")
    assert refused.returncode == 2
    assert "name --bundle" in refused.stderr


def test_a_classifier_is_told_which_classes_are_good(
    tmp_path: Path, class_build: BuildResult, class_images: Path, key_folder: Path, call_vedette: Command
) -> None:
    for kind in ("good", "spot"):
        for number, path in enumerate(sorted((class_images / "kinds" / kind).iterdir())[:4]):
            folder = tmp_path / "looks" / kind / str(number)
            folder.mkdir(parents=True)
            (folder / path.name).symlink_to(path)
    arguments = ("study", tmp_path / "looks", "--bundle", class_build.bundle, "--keys", key_folder, "--json")
    refused = call_vedette(*arguments)
    assert refused.returncode == 2
    assert "which classes are good is not known" in refused.stderr
    answer = json.loads(call_vedette(*arguments, "--accept", "good").stdout)
    assert answer["trials"] == 1
    assert answer["appraisers"][0]["within"] is None
    assert answer["between"] is None
    assert answer["miss"]["of"] == 4
