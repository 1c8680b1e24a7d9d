"""A goal file that is wrong in any way is answered before anything is built, and the images are divided fairly."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from vedette.compress.data import split as dataset
from vedette.compress.goal import goal_reader
from vedette.compress.goal.goal_file import DataSettings
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
    (tmp_path / "good").mkdir()
    for number in range(40):
        cv2.imwrite(
            str(tmp_path / "good" / f"part{number // 4:02d}-{number:02d}.png"), np.full((9, 9), number, np.uint8)
        )
    (tmp_path / "goal.toml").write_text(GOAL)
    return tmp_path


def test_the_example_is_read(folder):
    read = goal_reader.read_goal(folder / "goal.toml")
    assert read.goal.max_bytes == 6_000_000
    assert read.device.profile == "host"
    assert read.model.detector == "auto"


@pytest.mark.parametrize(
    ("old", "new", "said", "remedy"),
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
        ("[goal]", "[model]\nblocks = [0]\n[goal]", "$.model.blocks", "docs/goal.md"),
        ("[goal]", "[model]\nblocks = [2, 2]\n[goal]", "names a block twice", "each once"),
        ("[data]\n", "[data]\nseed = -1\n", "$.data.seed", "docs/goal.md"),
        ('name = "cells"', 'name = "cells\\n"', "$.name", "docs/goal.md"),
        ('name = "cells"', 'name = ".."', "$.name", "docs/goal.md"),
        ("[goal]", "[model]\nblocks = []\n[goal]", "model.blocks is empty", "block"),
        ("[goal]", "[goal", "not TOML", "correct the file"),
        ('good = "good"', 'defect = "good"', "data.good is missing", "good parts"),
        ('good = "good"', 'good = "good"\nclasses = "x"', "data.classes does not apply", 'task = "classify"'),
        ("[goal]", "[goal]\nmin_accuracy = 0.9", "goal.min_accuracy does not apply", 'task = "classify"'),
        ('"anomaly"', '"classify"', "goal.min_auroc does not apply", 'task = "anomaly"'),
    ],
)
def test_a_wrong_one_is_explained(folder, old, new, said, remedy):
    path = folder / "goal.toml"
    assert old in GOAL
    path.write_text(GOAL.replace(old, new, 1))
    with pytest.raises(ConfigProblem) as caught:
        goal_reader.read_goal(path)
    assert str(path) in caught.value.message
    assert said in caught.value.message
    assert remedy in caught.value.hint


def test_the_command_says_it_and_writes_nothing(folder, run_vedette):
    (folder / "goal.toml").write_text(GOAL.replace("[data]", "[data]\nbad = 1"))
    done = run_vedette("build", folder / "goal.toml", "--out", folder / "out", HOME=str(folder))
    assert done.returncode == 2
    assert re.search(r"vedette: .*goal.toml: .*`bad`", done.stderr)
    assert "remedy: known keys: " in done.stderr
    assert not (folder / "out").exists()
    assert not (folder / ".config").exists(), "no key is made for a build that cannot be"


@pytest.mark.parametrize("out", ["goal.toml", "goal.toml/below"])
def test_a_place_that_cannot_be_written_is_said_first(folder, run_vedette, out):
    done = run_vedette("build", folder / "goal.toml", "--out", folder / out, HOME=str(folder))
    assert done.returncode == 2
    assert "is no writable folder" in done.stderr
    assert "training" not in done.stderr


# The division


def parts(split):
    return {"fit": split.fit, "calibrate": split.calibrate, "threshold": split.threshold, "test": split.test}


@pytest.mark.parametrize("group", [None, r"^part(\d+)", r"part\d"])
def test_the_parts_are_disjoint_and_complete(folder, group):
    if group == r"part\d":
        with pytest.raises(ConfigProblem, match="makes 1 groups"):
            dataset.split_images(DataSettings(good="good", group=group), folder)
        return
    split = dataset.split_images(DataSettings(good="good", group=group), folder)
    names = [path for each in parts(split).values() for path in each]
    assert len(names) == len(set(names)) == 40
    assert all(parts(split).values())
    assert split.defect == []


def test_a_recipe_may_say_how_long_to_search(folder):
    assert goal_reader.read_goal(folder / "goal.toml").search_seconds is None
    (folder / "goal.toml").write_text(GOAL + '[[recipe]]\nuse = "search"\ntime = "1.5m"\n')
    assert goal_reader.read_goal(folder / "goal.toml").search_seconds == 90
    (folder / "goal.toml").write_text(GOAL + '[[recipe]]\nuse = "search"\ntime = "soon"\n')
    with pytest.raises(ConfigProblem, match="'soon' is not a time: write 90s"):
        goal_reader.read_goal(folder / "goal.toml")


def test_a_group_is_never_divided(folder):
    for seed in range(10):
        split = dataset.split_images(DataSettings(good="good", group=r"^part(\d+)", seed=seed), folder)
        homes = {}
        for part, paths in parts(split).items():
            for path in paths:
                homes.setdefault(path.name[:6], set()).add(part)
        assert all(len(home) == 1 for home in homes.values())


def test_the_seed_decides(folder):
    first, again, other = (dataset.split_images(DataSettings(good="good", seed=seed), folder) for seed in (1, 1, 2))
    assert parts(first) == parts(again)
    assert parts(first) != parts(other)


def test_too_few_images_are_said_at_once(folder):
    for path in list((folder / "good").iterdir())[9:]:
        path.unlink()
    with pytest.raises(ConfigProblem, match="9 good images, at least 10"):
        dataset.split_images(DataSettings(good="good"), folder)


def test_a_defect_cannot_count_as_good(folder):
    (folder / "good" / "defect").mkdir()
    cv2.imwrite(str(folder / "good" / "defect" / "bad.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(ConfigProblem, match=r"bad\.png would count as good and as defective"):
        dataset.split_images(DataSettings(good="good", defect="good/defect"), folder)


def test_masks_that_belong_to_nothing_are_said(folder):
    (folder / "mask").mkdir()
    cv2.imwrite(str(folder / "mask" / "x.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(ConfigProblem, match="no mask belongs to a defective image"):
        dataset.split_images(DataSettings(good="good", mask="mask"), folder)


def test_masks_are_found_by_stem_and_read_by_their_alpha(folder):
    for name in ("defect", "mask"):
        (folder / name).mkdir()
    picture = np.zeros((8, 8, 3), np.uint8)
    for stem in ("a", "b", "c"):
        cv2.imwrite(str(folder / "defect" / f"{stem}.jpg"), picture)
    colour = np.zeros((8, 8, 4), np.uint8)
    colour[:, :, 1] = 200
    colour[2:4, 2:4, 3] = 255
    cv2.imwrite(str(folder / "mask" / "a.png"), colour)
    plain = np.zeros((8, 8), np.uint8)
    plain[0, 0] = 255
    cv2.imwrite(str(folder / "mask" / "b.png"), plain)
    split = dataset.split_images(DataSettings(good="good", defect="defect", mask="mask"), folder)
    assert {path.stem: mask.stem for path, mask in split.masks.items()} == {"a": "a", "b": "b"}
    masks = {path.stem: dataset.read_mask(mask) for path, mask in split.masks.items()}
    assert masks["a"].sum() == 4
    assert masks["b"].sum() == 1
    assert isinstance(Path(split.defect[0]), Path)
