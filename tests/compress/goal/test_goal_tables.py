"""Reading a goal file: errors are reported before anything is built."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from vedette.compress.goal import goal_reader
from vedette.runtime.errors import ConfigProblem

GOAL = """\
name = "cells"
task = "anomaly"
[data]
good = "good"
[device]
profile = "host"
[goal]
min_auroc = 0.90
max_drop = 0.01
max_ms = 50.0
max_bytes = 6_000_000
false_alarm_rate = 0.01
"""


@pytest.fixture
def folder(tmp_path):
    """Forty images of ten parts, and a goal file."""
    (tmp_path / "good").mkdir()
    for number in range(40):
        cv2.imwrite(
            str(tmp_path / "good" / f"part{number // 4:02d}-{number:02d}.png"), np.full((9, 9), number, np.uint8)
        )
    (tmp_path / "goal.toml").write_text(GOAL)
    return tmp_path


def test_valid_goal_file_is_read(folder):
    goal = goal_reader.read_goal(folder / "goal.toml")
    assert goal.goal.max_bytes == 6_000_000
    assert goal.device.profile == "host"
    assert goal.model.detector == "auto"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ('name = "cells"', 'nmae = "cells"', "nmae", "known keys: name"),
        ('name = "cells"', 'name = "a b"', "$.name", "docs/goal.md"),
        ('name = "cells"\n', "", "`name`", "known keys"),
        ('"anomaly"', '"astrology"', "$.task", "docs/goal.md"),
        ("[data]\n", "[data]\nbad = 1\n", "bad", "data.good"),
        ('good = "good"', 'good = "goods"', "data.good: no folder", "relative to the goal file"),
        ('good = "good"', 'good = "good"\ndefect = "x"', "data.defect", "relative"),
        ('good = "good"', 'good = "good"\ngroup = "("', "data.group", "regular expression"),
        ('good = "good"', 'good = "good"\ngroup = "x.csv"', "data.group: no file", "relative to the goal file"),
        ('good = "good"', 'good = "good"\nlist = "x.csv"', "data.list: no file", "relative to the goal file"),
        ('"host"', '"pi400"', "device.profile: unknown 'pi400'", "pi4, pi5"),
        ("0.90", "90", "$.goal.min_auroc", "docs/goal.md"),
        ("max_drop = 0.01", "max_drop = -1", "$.goal.max_drop", "docs/goal.md"),
        ("max_ms = 50.0", "max_ms = 0", "$.goal.max_ms", "docs/goal.md"),
        ("6_000_000", "6.5", "$.goal.max_bytes", "docs/goal.md"),
        ("[goal]", "[model]\ninput = 100\n[goal]", "$.model.input", "docs/goal.md"),
        ("[goal]", "[model]\ninput = [64, 100]\n[goal]", "$.model.input", "docs/goal.md"),
        ("[goal]", "[model]\ninput = [64, 64, 64]\n[goal]", "$.model.input", "docs/goal.md"),
        ("[goal]", '[model]\ninput = "large"\n[goal]', "$.model.input", "docs/goal.md"),
        ("[goal]", "[model]\nblocks = [0]\n[goal]", "$.model.blocks", "docs/goal.md"),
        ("[goal]", "[model]\nblocks = [2, 2]\n[goal]", "names a block twice", "each once"),
        ("[data]\n", "[data]\nseed = -1\n", "$.data.seed", "docs/goal.md"),
        ('name = "cells"', 'name = "cells\\n"', "$.name", "docs/goal.md"),
        ('name = "cells"', 'name = ".."', "$.name", "docs/goal.md"),
        ("[goal]", "[model]\nblocks = []\n[goal]", "model.blocks is empty", "block"),
        ("[goal]", '[model]\nreferences = ["a.png"]\n[goal]', "model.references belongs", 'detector = "golden"'),
        ("[goal]", "[goal", "not TOML", "correct the file"),
        ('good = "good"', 'defect = "good"', "data.good is missing", "good parts"),
        ('good = "good"', 'good = "good"\nclasses = "x"', "data.classes does not apply", 'task = "classify"'),
        ("[goal]", "[goal]\nmin_accuracy = 0.9", "goal.min_accuracy does not apply", 'task = "classify"'),
        ('"anomaly"', '"classify"', "goal.min_auroc does not apply", 'task = "anomaly"'),
    ],
)
def test_invalid_goal_file_is_refused_with_a_hint(folder, old, new, message, hint):
    path = folder / "goal.toml"
    assert old in GOAL
    path.write_text(GOAL.replace(old, new, 1))
    with pytest.raises(ConfigProblem) as error:
        goal_reader.read_goal(path)
    assert str(path) in error.value.message
    assert message in error.value.message
    assert hint in error.value.hint


def test_build_refuses_an_invalid_goal_file_and_writes_nothing(folder, call_vedette):
    (folder / "goal.toml").write_text(GOAL.replace("[data]", "[data]\nbad = 1"))
    result = call_vedette("build", folder / "goal.toml", "--out", folder / "out", HOME=str(folder))
    assert result.returncode == 2
    assert re.search(r"vedette: .*goal.toml: .*`bad`", result.stderr)
    assert "remedy: known keys: " in result.stderr
    assert not (folder / "out").exists()
    assert not (folder / ".config").exists(), "no key is created for a refused build"


@pytest.mark.build
@pytest.mark.parametrize("out", ["goal.toml", "goal.toml/below"])
def test_unwritable_output_folder_is_reported_before_the_build(folder, call_vedette, out):
    result = call_vedette("build", folder / "goal.toml", "--out", folder / out, HOME=str(folder))
    assert result.returncode == 2
    assert "is no writable folder" in result.stderr
    assert "training" not in result.stderr


def test_recipe_sets_the_search_time(folder):
    assert goal_reader.read_goal(folder / "goal.toml").search_seconds is None
    (folder / "goal.toml").write_text(GOAL + '[[recipe]]\nuse = "search"\ntime = "1.5m"\n')
    assert goal_reader.read_goal(folder / "goal.toml").search_seconds == 90
    (folder / "goal.toml").write_text(GOAL + '[[recipe]]\nuse = "search"\ntime = "soon"\n')
    with pytest.raises(ConfigProblem, match="'soon' is not a time: write 90s"):
        goal_reader.read_goal(folder / "goal.toml")
