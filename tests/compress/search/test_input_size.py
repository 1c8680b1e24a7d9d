"""The search for the input size of an object detector, and the training of its int8 model."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from vedette.compress.data.augmentation import augment_scene
from vedette.compress.goal.goal_tables import Targets
from vedette.compress.quantization.detection_distillation import (
    DetectionDistillationLoss,
    detection_distillation_objective,
)
from vedette.compress.search import detector_sizes, input_size
from vedette.compress.search.input_size_trial import InputSizeResult, InputSizeTrial, choose_input_size
from vedette.compress.training import detector_distillation
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.manifest import BoxDecoding
from vedette.runtime.evaluation.bundle_verification import verify_bundle

YOLOX = BoxDecoding("yolox", 0.65)
NAMES = ["box0", "objectness0", "class0"]


def make_trials(*rows):
    """Trials from rows of pixels, cost, float mAP50 and int8 mAP50."""
    return [InputSizeTrial(InputSizeResult(*row), None, None) for row in rows]


TRIALS = make_trials(
    (416, 100.0, 0.50, 0.48), (384, 85.0, 0.49, 0.47), (352, 70.0, 0.495, 0.46), (320, 60.0, 0.45, 0.44)
)


@pytest.mark.parametrize(
    ("wish", "max_cost", "pixels"),
    [
        (Targets(), None, 416),
        (Targets(max_drop=0.03), None, 352),  # half of it is left to quantization
        (Targets(max_drop=0.5), None, 320),
        (Targets(max_drop=0.001), None, 416),
        (Targets(), 90.0, 384),  # the smaller size is better by chance
        (Targets(), 75.0, 352),
        (Targets(), 65.0, 320),
        (Targets(), 10.0, 320),  # nothing is within the limit
    ],
)
def test_input_size_is_the_best_within_the_goal(wish, max_cost, pixels):
    assert choose_input_size(TRIALS, wish, max_cost).result.input == pixels


def test_allowed_drop_is_what_a_smaller_size_leaves():
    original, smaller = TRIALS[0].result, TRIALS[3].result
    assert input_size.allowed_drop(original, original, Targets()) == input_size.MAX_MAP50_DROP
    assert input_size.allowed_drop(original, original, Targets(max_drop=0.01)) == pytest.approx(0.005)
    assert input_size.allowed_drop(smaller, original, Targets(max_drop=0.055)) == pytest.approx(0.005)
    assert input_size.allowed_drop(smaller, original, Targets(max_drop=0.01)) == 0


def test_smaller_sizes_are_multiples_of_the_step_down_to_half():
    assert detector_sizes.list_smaller_sizes(416) == [384, 352, 320, 288, 256, 224]
    assert detector_sizes.list_smaller_sizes(300) == [288, 256, 224, 192, 160]
    assert detector_sizes.list_smaller_sizes(32) == []
    assert detector_sizes.list_smaller_sizes((256, 416))[:3] == [(256, 384), (224, 352), (224, 320)]


def write_pictures(folder, *shapes):
    """A picture of each shape."""
    paths = [folder / f"{number}.png" for number in range(len(shapes))]
    for path, shape in zip(paths, shapes, strict=True):
        cv2.imwrite(str(path), np.zeros((*shape, 3), np.uint8))
    return paths


def test_sizes_have_the_shape_of_the_images(tmp_path):
    wide = write_pictures(tmp_path, (90, 160), (90, 160), (90, 160))
    fitted = [(256, 416), (224, 384), (224, 352), (192, 320), (192, 288), (160, 256), (128, 224)]
    assert detector_sizes.list_sizes(416, wide, fills=True) == fitted
    assert detector_sizes.list_sizes(416, wide, fills=False) == detector_sizes.list_smaller_sizes(416)
    assert detector_sizes.list_sizes((256, 416), wide, fills=True) == detector_sizes.list_smaller_sizes((256, 416))
    upright = write_pictures(tmp_path, (160, 90))
    assert detector_sizes.list_sizes(416, upright, fills=True)[0] == (416, 256)
    square = write_pictures(tmp_path, (100, 100))
    assert detector_sizes.list_sizes(416, square, fills=True) == detector_sizes.list_smaller_sizes(416)


def test_images_of_many_shapes_get_squares(tmp_path):
    mixed = write_pictures(tmp_path, (90, 120), (90, 120), (90, 120), (120, 90))
    assert detector_sizes.list_sizes(416, mixed, fills=True) == detector_sizes.list_smaller_sizes(416)


@pytest.mark.build
def test_search_leaves_out_the_gray_border(detection_images, keyring, key_folder, call_vedette, tmp_path):
    """Wide pictures fill half of the network's square input; half of its pixels give the same boxes."""
    goal = tmp_path / "wide"
    shutil.copytree(detection_images, goal)
    for path in (goal / "images").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path))[:32])
        label = goal / "labels" / f"{path.stem}.txt"
        rows = [line.split() for line in label.read_text().splitlines()]
        kept = [f"{kind} {x} {2 * float(y)} {w} 0.25\n" for kind, x, y, w, _ in rows if float(y) < 0.5]
        label.write_text("".join(kept))
    text = (goal / "goal.toml").read_text().replace("[goal]\n", "[goal]\nmin_speedup = 2.0\n")
    (goal / "goal.toml").write_text(text)
    options = ("--out", tmp_path, "--time", "60s", "--key", key_folder / "vedette.key")
    built = call_vedette("build", goal / "goal.toml", *options, "--json", HOME=str(tmp_path))
    assert built.returncode == 0, built.stderr
    measured = json.loads(built.stdout)
    assert [each["input"] for each in measured["trials"]] == [64, [32, 64]]
    assert (measured["input"], measured["speedup"]) == ([32, 64], pytest.approx(2.0, rel=0.01))
    assert measured["map50_fp32"] > 0.95
    assert "64 x 32 pixels were chosen" in (tmp_path / "squares.html").read_text()
    report = verify_bundle(Bundle.open(tmp_path / "squares.vedette", keyring), goal)
    assert report.map50_int8_onnx == report.map50_int8_tflite > 0.95


def make_outputs(objects, shift=0.0):
    """Detector outputs of 2 x 2 cells and 3 classes, with high scores only in the cells of the objects."""
    box = torch.zeros(1, 4, 2, 2)
    objectness, classes = torch.full((1, 1, 2, 2), -12.0), torch.full((1, 3, 2, 2), -12.0)
    for row, column, kind in objects:
        objectness[0, 0, row, column], classes[0, kind, row, column] = 6.0, 6.0
    return [box + shift, objectness, classes]


def test_detection_loss_weighs_the_cells_of_objects():
    loss = DetectionDistillationLoss(NAMES, YOLOX)
    goal = make_outputs([(0, 0, 1)])
    assert float(loss(goal, goal)) == 0
    elsewhere, here = make_outputs([(0, 0, 1)]), make_outputs([(0, 0, 1)])
    elsewhere[0][0, :, 1, 1] += 1.0
    here[0][0, :, 0, 0] += 1.0
    assert float(loss(elsewhere, goal)) < 1e-3
    assert float(loss(here, goal)) == pytest.approx(4.0, rel=0.02)
    missed, confused, invented = make_outputs([]), make_outputs([(0, 0, 2)]), make_outputs([(0, 0, 1), (1, 1, 0)])
    assert min(float(loss(each, goal)) for each in (missed, confused, invented)) > 5


def test_detection_loss_separates_anchors_of_one_cell():
    """An SSD has several anchors per cell: only the anchor of the object counts."""
    loss = DetectionDistillationLoss(["box0", "class0"], BoxDecoding("ssd", 0.6, (((0.1, 0.1), (0.2, 0.2)),)))
    goal = [torch.zeros(1, 8, 2, 2), torch.full((1, 6, 2, 2), -12.0)]
    goal[1][0, 4, 0, 0] = 8.0  # the second anchor, its second class
    first, second = goal[0].clone(), goal[0].clone()
    first[0, 0, 0, 0] = second[0, 4, 0, 0] = 1.0
    assert float(loss([first, goal[1]], goal)) < 1e-3
    assert float(loss([second, goal[1]], goal)) == pytest.approx(1.0, rel=0.02)


def test_gradient_step_reduces_the_detection_loss():
    goal, made = make_outputs([(0, 0, 1)]), [each.requires_grad_() for each in make_outputs([], 0.5)]
    objective = detection_distillation_objective(NAMES, YOLOX)
    before = objective.loss(made, goal)
    before.backward()
    after = objective.loss([each - 0.1 * each.grad for each in made], goal)
    assert after.item() < before.item()


@pytest.mark.parametrize("seed", range(20))
def test_augmented_scenes_keep_their_size_and_follow_from_the_seed(seed):
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    one, other = (augment_scene(picture, np.random.default_rng(seed)) for _ in range(2))
    assert (one.shape, one.dtype) == (picture.shape, picture.dtype)
    assert np.array_equal(one, other)
    assert not np.array_equal(one, picture)


@pytest.mark.build
def test_search_takes_the_smaller_size_that_is_fast_enough(
    detection_images, keyring, key_folder, call_vedette, tmp_path
):
    goal = detection_images / "fast.toml"
    text = (detection_images / "goal.toml").read_text().replace('"squares"', '"fast"')
    goal.write_text(text.replace("[goal]\n", "[goal]\nmin_speedup = 3.0\n"))
    options = ("--out", tmp_path, "--time", "60s", "--key", key_folder / "vedette.key")
    built = call_vedette("build", goal, *options, "--json", HOME=str(tmp_path))
    assert built.returncode == 1, built.stderr  # squares of four pixels are too small to detect
    measured = json.loads(built.stdout)
    assert [each["input"] for each in measured["trials"]] == [64, 32]
    assert (measured["input"], measured["speedup"]) == (32, pytest.approx(4.0, rel=0.01))
    assert measured["speedup_by"] == "multiplications"
    assert measured["map50_fp32"] > 0.95  # the reference is the float model at its own size
    assert not any("min_speedup" in each for each in measured["missed"])
    assert any("max_drop" in each for each in measured["missed"])
    assert "32 pixels were chosen" in (tmp_path / "fast.html").read_text()
    report = verify_bundle(Bundle.open(tmp_path / "fast.vedette", keyring), detection_images)
    assert report.map50_float > 0.95
    assert report.map50_int8_onnx == report.map50_int8_tflite < 0.9


@pytest.mark.slow
def test_smaller_input_is_taught_by_the_larger_one(detection_images, build_bundle, tmp_path, monkeypatch):
    """Squares of four pixels cannot be learned in four steps: the untaught weights stay, and the report says so."""
    monkeypatch.setattr(input_size, "RECOVERABLE", 1.0)
    monkeypatch.setattr(detector_distillation, "STEPS", 4)
    goal = detection_images / "taught.toml"
    text = (detection_images / "goal.toml").read_text().replace('"squares"', '"taught"')
    text = text.replace("max_drop = 0.02", "max_drop = 0.9").replace("min_map50 = 0.9", "min_speedup = 3.0")
    goal.write_text(text + '[[recipe]]\nuse = "search"\ntime = "60s"\n[[recipe]]\nuse = "distil"\n')
    messages = []
    build_bundle(goal, tmp_path, log=messages.append)
    assert any("the float model at its own size teaches it" in message for message in messages)
    measured = json.loads((tmp_path / "taught.json").read_text())
    taught = measured["distillation"]
    assert (taught["input"], taught["images"]) == (32, measured["images"]["fit"])
    assert taught["loss"] <= taught["loss_before"]
    assert taught["kept"] == (taught["map50"] > taught["map50_before"])
    assert [each["distilled"] for each in measured["trials"]] == [False, False] + [True] * taught["kept"]
    assert "The float network at its own size taught the one of 32 pixels" in (tmp_path / "taught.html").read_text()


@pytest.mark.build
def test_input_size_search_rejects_a_study(detection_images, call_vedette, tmp_path):
    options = ("--time", "60s", "--study", f"sqlite:///{tmp_path}/study.db")
    refused = call_vedette("build", detection_images / "goal.toml", "--out", tmp_path / "out", *options)
    assert refused.returncode == 2
    assert "--study" in refused.stderr
    assert not (tmp_path / "out" / "squares.vedette").exists()


@pytest.mark.slow
def test_int8_model_that_loses_too_much_is_trained(detection_images, build_bundle, tmp_path, monkeypatch):
    """The allowed drop is negative, so that the model is trained in any case; it stays as accurate."""
    monkeypatch.setattr(input_size, "allowed_drop", lambda *_: -1.0)
    monkeypatch.setattr(input_size, "QAT_STEPS", 4)
    messages = []
    built = build_bundle(detection_images / "goal.toml", tmp_path, log=messages.append)
    assert any("training it against the float model" in message for message in messages)
    assert list((tmp_path / "squares.work").glob("teaching-*.pt"))
    assert [each["name"] for each in json.loads((tmp_path / "squares.json").read_text())["steps"]] == [
        "ranges",
        "training",
    ]
    assert built.verdict.met
