"""Detectors at smaller sizes, and integers that are taught: which is taken, what is learnt, and a whole search."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vedette.compress.build import build
from vedette.compress.data.augmentation import scene
from vedette.compress.goal.goal_file import Wish
from vedette.compress.quantization.detection_loss import Likeness, lesson
from vedette.compress.search import input_size
from vedette.compress.search.input_size import Size, Tried
from vedette.runtime.bundle import keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.manifest import Boxes
from vedette.runtime.evaluation.verify import verify

YOLOX = Boxes("yolox", 0.65)
NAMES = ["box0", "objectness0", "class0"]


def tried(*rows):
    """Sizes from: pixels, effort, mAP50 of float, of integers."""
    return [Tried(Size(*row), None, None) for row in rows]


LADDER = tried((416, 100.0, 0.50, 0.48), (384, 85.0, 0.49, 0.47), (352, 70.0, 0.495, 0.46), (320, 60.0, 0.45, 0.44))


@pytest.mark.parametrize(
    ("wish", "most", "pixels"),
    [
        (Wish(), None, 416),
        (Wish(max_drop=0.03), None, 352),  # half of it is left to the integers
        (Wish(max_drop=0.5), None, 320),
        (Wish(max_drop=0.001), None, 416),
        (Wish(), 90.0, 384),  # the smaller one is more precise by chance
        (Wish(), 75.0, 352),
        (Wish(), 65.0, 320),
        (Wish(), 10.0, 320),  # the nearest miss
    ],
)
def test_the_size_is_the_best_that_the_goal_leaves(wish, most, pixels):
    assert input_size.best(LADDER, wish, most).size.input == pixels


def test_integers_may_lose_what_a_smaller_size_has_left():
    whole, smaller = LADDER[0].size, LADDER[3].size
    assert input_size.allowed(whole, whole, Wish()) == input_size.DROP
    assert input_size.allowed(whole, whole, Wish(max_drop=0.01)) == pytest.approx(0.005)
    assert input_size.allowed(smaller, whole, Wish(max_drop=0.055)) == pytest.approx(0.005)
    assert input_size.allowed(smaller, whole, Wish(max_drop=0.01)) == 0


def test_smaller_sizes_are_whole_steps_down_to_half():
    assert input_size.smaller(416) == [384, 352, 320, 288, 256, 224]
    assert input_size.smaller(300) == [288, 256, 224, 192, 160]
    assert input_size.smaller(32) == []


def said(objects, shift=0.0):
    """Outputs of 2 x 2 cells and 3 classes: sure of the objects' cells, and of nothing else."""
    box = torch.zeros(1, 4, 2, 2)
    objectness, classes = torch.full((1, 1, 2, 2), -12.0), torch.full((1, 3, 2, 2), -12.0)
    for row, column, kind in objects:
        objectness[0, 0, row, column], classes[0, kind, row, column] = 6.0, 6.0
    return [box + shift, objectness, classes]


def test_what_is_said_of_objects_is_what_counts():
    apart = Likeness(NAMES, YOLOX)
    goal = said([(0, 0, 1)])
    assert float(apart(goal, goal)) == 0
    elsewhere, here = said([(0, 0, 1)]), said([(0, 0, 1)])
    elsewhere[0][0, :, 1, 1] += 1.0
    here[0][0, :, 0, 0] += 1.0
    assert float(apart(elsewhere, goal)) < 1e-3
    assert float(apart(here, goal)) == pytest.approx(4.0, rel=0.02)
    missed, confused, invented = said([]), said([(0, 0, 2)]), said([(0, 0, 1), (1, 1, 0)])
    assert min(float(apart(each, goal)) for each in (missed, confused, invented)) > 5


def test_boxes_that_share_a_cell_are_told_apart():
    """An SSD starts from several boxes in each cell: only the one with the object counts."""
    apart = Likeness(["box0", "class0"], Boxes("ssd", 0.6, (((0.1, 0.1), (0.2, 0.2)),)))
    goal = [torch.zeros(1, 8, 2, 2), torch.full((1, 6, 2, 2), -12.0)]
    goal[1][0, 4, 0, 0] = 8.0  # the second box, its second class
    first, second = goal[0].clone(), goal[0].clone()
    first[0, 0, 0, 0] = second[0, 4, 0, 0] = 1.0
    assert float(apart([first, goal[1]], goal)) < 1e-3
    assert float(apart([second, goal[1]], goal)) == pytest.approx(1.0, rel=0.02)


def test_a_lesson_moves_what_is_learnt_towards_the_goal():
    goal, made = said([(0, 0, 1)]), [each.requires_grad_() for each in said([], 0.5)]
    taught = lesson(NAMES, YOLOX)
    before = taught.loss(made, goal)
    before.backward()
    after = taught.loss([each - 0.1 * each.grad for each in made], goal)
    assert after.item() < before.item()


@pytest.mark.parametrize("seed", range(20))
def test_scenes_keep_their_size_and_follow_from_the_seed(seed):
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    one, other = (scene(picture, np.random.default_rng(seed)) for _ in range(2))
    assert (one.shape, one.dtype) == (picture.shape, picture.dtype)
    assert np.array_equal(one, other)
    assert not np.array_equal(one, picture)


def test_a_search_takes_the_smaller_picture_that_is_fast_enough(squares, keyring, key_folder, vedette, tmp_path):
    goal = squares / "fast.toml"
    text = (squares / "goal.toml").read_text().replace('"squares"', '"fast"')
    goal.write_text(text.replace("[goal]\n", "[goal]\nmin_speedup = 3.0\n"))
    asked = ("--out", tmp_path, "--time", "60s", "--key", key_folder / "vedette.key")
    built = vedette("build", goal, *asked, "--json", HOME=str(tmp_path))
    assert built.returncode == 1, built.stderr  # squares of four pixels are too small for it
    measured = json.loads(built.stdout)
    assert [each["input"] for each in measured["trials"]] == [64, 32]
    assert (measured["input"], measured["speedup"]) == (32, pytest.approx(4.0, rel=0.01))
    assert measured["speedup_by"] == "multiplications"
    assert measured["map50_fp32"] > 0.95  # the whole network is what it is held against
    assert not any("min_speedup" in each for each in measured["missed"])
    assert any("max_drop" in each for each in measured["missed"])
    assert "32 pixels were taken" in (tmp_path / "fast.html").read_text()
    report = verify(Bundle.open(tmp_path / "fast.vedette", keyring), squares)
    assert report.map50_float > 0.95
    assert report.map50_int8_onnx == report.map50_int8_tflite < 0.9


def test_a_search_of_sizes_keeps_no_study(squares, vedette, tmp_path):
    asked = ("--time", "60s", "--study", f"sqlite:///{tmp_path}/study.db")
    refused = vedette("build", squares / "goal.toml", "--out", tmp_path / "out", *asked)
    assert refused.returncode == 2
    assert "--study" in refused.stderr
    assert not (tmp_path / "out" / "squares.vedette").exists()


def test_integers_that_lose_too_much_are_taught(squares, key_folder, tmp_path, monkeypatch):
    """As if nothing may be lost, not even what is gained: the network has then learnt, and is none the worse."""
    monkeypatch.setattr(input_size, "allowed", lambda *_: -1.0)
    monkeypatch.setattr(input_size, "STEPS", 4)
    told = []
    built = build(squares / "goal.toml", tmp_path, keys.read_private(key_folder / "vedette.key"), say=told.append)
    assert any("taught by the float network" in each for each in told)
    assert list((tmp_path / "squares.work").glob("teaching-*.pt"))
    assert [each["name"] for each in json.loads((tmp_path / "squares.json").read_text())["steps"]] == [
        "ranges",
        "training",
    ]
    assert built.verdict.met
