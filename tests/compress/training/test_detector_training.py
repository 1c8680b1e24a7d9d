"""Detectors that learn the classes of their labels: boxes and loss in torch, new class channels, mapping, training."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from squares import write_detection_images

from vedette.compress.data.augmentation import SceneVariation
from vedette.compress.evaluation.float_detector import detect_in_float, measure_float_map50
from vedette.compress.goal.goal_tables import ModelTable
from vedette.compress.goal.recipe import DetectorTrainingSettings
from vedette.compress.graph.class_channels import choose_layers, replace_classes
from vedette.compress.graph.editing import copy_with_weights
from vedette.compress.graph.graph_tail import GraphTail
from vedette.compress.graph.importers.detector_import import load_imported_detector
from vedette.compress.graph.torch_module import OnnxModule
from vedette.compress.training import class_mapping, detector_distillation
from vedette.compress.training.box_outputs import BoxReader
from vedette.compress.training.detection_loss import ImageTargets, detection_loss
from vedette.compress.training.detector_fine_tuning import AnnotatedImages, fine_tune_in_steps
from vedette.compress.training.teacher_boxes import find_teacher_boxes, teacher_loss
from vedette.runtime.bundle.box_decoding import BoxDecoding, GridDecoding
from vedette.runtime.bundle.manifest import ModelInput, ModelOutput
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation import object_annotations
from vedette.runtime.evaluation.annotated_object import AnnotatedObject
from vedette.runtime.inference.heads.detect import DetectHead
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.progress import no_log, no_progress

SPEC = ModelInput("image", 64, 64, 0.0, 1.0, 1.0, 0, "stretch")
DECODINGS = {
    "yolox": (BoxDecoding("yolox", 0.6), {"box": 4, "objectness": 1, "class": 3}),
    "nanodet": (BoxDecoding("nanodet", 0.6), {"box": 32, "class": 3}),
    "fastestdet": (BoxDecoding("fastestdet", 0.6), {"objectness": 1, "box": 4, "class": 3}),
    "pixels": (
        BoxDecoding("grid", 0.6, grid=GridDecoding("distances", "pixels", 0.0, "relu", strides=(8, 16))),
        {"box": 4, "class": 3},
    ),
}


@pytest.mark.parametrize("name", DECODINGS)
def test_boxes_in_torch_are_those_of_the_device(name):
    boxes, channels = DECODINGS[name]
    rng = np.random.default_rng(0)
    levels = (8,) if name == "fastestdet" else (8, 4)
    outputs = {
        f"{role}{level}": rng.normal(0, 2, (1, count, side, side)).astype(np.float32)
        for level, side in enumerate(levels)
        for role, count in channels.items()
    }
    made = tuple(ModelOutput(key, value.shape, 1.0, 0) for key, value in outputs.items())
    manifest = SimpleNamespace(outputs=made, input=SPEC, boxes=boxes, labels=("a", "b", "c"), threshold=0.0)
    found = DetectHead(manifest, 1e-6).decoder(outputs, 1e-6)
    read = BoxReader(boxes, SPEC)({key: torch.from_numpy(value) for key, value in outputs.items()})
    edges = read.edges[0].numpy()
    for row in range(0, len(found.scores), 7):
        distance = np.abs(edges - found.edges[row]).max(axis=1)
        assert distance.min() < 1e-4
        if name == "fastestdet":
            continue  # it weighs both probabilities by powers
        assert read.scores[0, distance.argmin(), found.classes[row]].item() == pytest.approx(
            found.scores[row], abs=1e-4
        )


def test_anchors_are_refused():
    with pytest.raises(ConfigProblem, match="ssd cannot be trained") as problem:
        BoxReader(BoxDecoding("ssd", 0.6, (((0.1, 0.1),),)), SPEC)
    assert problem.value.hint


def test_loss_falls_towards_the_annotated_box():
    reader = BoxReader(DECODINGS["nanodet"][0], SPEC)
    target = [ImageTargets(torch.tensor([[0.1, 0.2, 0.6, 0.7]]), torch.tensor([1]), torch.tensor([False]))]
    parameters = {"box0": torch.zeros(1, 32, 8, 8), "class0": torch.full((1, 3, 8, 8), -3.0)}
    parameters = {name: value.requires_grad_() for name, value in parameters.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=0.1)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = detection_loss(reader(parameters), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    found = reader(parameters)
    best = int(found.scores[0, :, 1].argmax())
    assert losses[-1] < 0.2 * losses[0]
    assert found.edges[0, best].tolist() == pytest.approx([0.1, 0.2, 0.6, 0.7], abs=0.03)
    assert found.scores[0, best, 1] > 0.6
    assert found.scores[0, :, 0].max() < 0.2


def test_crowds_teach_nothing():
    reader = BoxReader(DECODINGS["nanodet"][0], SPEC)
    outputs = {"box0": torch.zeros(1, 32, 8, 8), "class0": torch.full((1, 3, 8, 8), 2.0)}
    everywhere = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    crowd = [ImageTargets(everywhere, torch.tensor([1]), torch.tensor([True]))]
    assert float(detection_loss(reader(outputs), crowd)) == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_boxes_follow_the_varied_picture(seed):
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:40, 30:60] = 255
    variation = SceneVariation.draw(60, 80, np.random.default_rng(seed))
    varied = variation.vary_image(image, fill=0)
    ((left, top, right, bottom),) = variation.vary_boxes(np.array([[30 / 80, 20 / 60, 60 / 80, 40 / 60]]), 60, 80)
    rows, columns = np.nonzero(varied[..., 0] > 60)
    assert columns.min() == pytest.approx(max(left, 0) * 80, abs=1.5)
    assert columns.max() + 1 == pytest.approx(min(right, 1) * 80, abs=1.5)
    assert rows.min() == pytest.approx(max(top, 0) * 60, abs=1.5)
    assert rows.max() + 1 == pytest.approx(min(bottom, 1) * 60, abs=1.5)


def test_operators_of_shuffled_networks_are_those_of_onnx_runtime():
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "sizes": np.array([6, 2]),
        "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="c"),
        helper.make_node("LeakyRelu", ["c"], ["l"], name="l", alpha=0.2),
        helper.make_node("Split", ["l", "sizes"], ["a", "b"], name="s", axis=1),
        helper.make_node("Pad", ["a", "pads"], ["pa"], name="p", mode="edge"),
        helper.make_node("Split", ["pa"], ["h", "i"], name="t", axis=1, num_outputs=2),
        helper.make_node("Concat", ["i", "h"], ["y"], name="y", axis=1),
        helper.make_node("Pad", ["b", "pads"], ["z"], name="z", mode="constant"),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 7, 9])
    shapes = {"y": [1, 6, 6, 10], "z": [1, 2, 6, 10]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [image], ends, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    x = rng.normal(size=(1, 3, 7, 9)).astype(np.float32)
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    for found, wanted in zip(OnnxModule(model)(torch.from_numpy(x)), expected, strict=True):
        assert np.abs(found.detach().numpy() - wanted).max() < 1e-5
    twice = OnnxModule(model)(torch.from_numpy(np.concatenate([x, -x])))
    assert np.abs(twice[0][0].detach().numpy() - expected[0][0]).max() < 1e-5


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    write_detection_images(folder)
    detector = load_imported_detector(folder, ModelTable(onnx="net.onnx", family="yolox", labels="names.txt"))
    truth = object_annotations.read_annotations(folder / "images", folder / "labels", detector.labels)
    return detector, truth


def test_a_renamed_class_keeps_its_boxes_and_scores(squares):
    detector, truth = squares
    paths = sorted(truth)[:4]
    renamed = replace_classes(detector, ("lime", "crimson"), [[1], [0]])
    names = {"red": "crimson", "green": "lime"}
    for before, after in zip(detect_in_float(detector, paths), detect_in_float(renamed, paths), strict=True):
        strong = [[(each.label, each.score) for each in found if each.score > 0.1] for found in (before, after)]
        assert len(strong[0]) == len(strong[1]) > 0
        for (old, score), (new, same) in zip(*map(sorted_by_score, strong), strict=True):
            assert names[old] == new
            assert same == pytest.approx(score, abs=2e-3)


def sorted_by_score(found):
    return sorted(found, key=lambda each: -each[1])


def test_merged_classes_begin_with_the_boxes_of_both(squares):
    detector, truth = squares
    merged = replace_classes(detector, ("square",), [[0, 1]])
    one = {path: tuple(each._replace(label=0) for each in objects) for path, objects in truth.items()}
    assert measure_float_map50(merged, sorted(truth), one) > 0.95


def test_training_finds_classes_that_no_channel_knows(squares):
    detector, truth = squares
    paths = sorted(truth)
    images = AnnotatedImages(paths[:12], truth, partial(measure_float_map50, paths=paths[12:18], truth=truth))
    blank = replace_classes(detector, ("red", "green"), [[], []])
    settings = DetectorTrainingSettings(epochs=30, learning_rate=0.03, layers="classes")
    before, after = fine_tune_in_steps(blank, images, settings, no_progress, no_log)
    assert before.map50 < 0.2
    assert after.map50 > 0.9
    assert measure_float_map50(after.detector, paths[18:], truth) > 0.9
    again = fine_tune_in_steps(blank, images, settings, no_progress, no_log)[1]
    assert again.detector.model.SerializeToString() == after.detector.model.SerializeToString()


def test_training_never_keeps_what_is_worse_on_the_validation_images(squares):
    detector, truth = squares
    paths = sorted(truth)
    swapped = {path: tuple(each._replace(label=1 - each.label) for each in truth[path]) for path in paths[:12]}
    validate = partial(measure_float_map50, paths=paths[12:18], truth=truth)
    images = AnnotatedImages(paths[:12], truth | swapped, validate)
    begun = replace_classes(detector, ("red", "green"), [[0], [1]])
    settings = DetectorTrainingSettings(epochs=10, learning_rate=0.03, layers="classes")
    before, after = fine_tune_in_steps(begun, images, settings, no_progress, no_log)
    assert (after.epochs, after.map50) == (0, before.map50)
    assert after.detector.model == before.detector.model


def test_only_chosen_layers_change(squares):
    detector, _ = squares
    taught = replace_classes(detector, ("red", "green"), [[0], [1]])
    chosen = choose_layers(taught.model, "classes")
    assert all(name.startswith("class") for name in chosen if "bias" in name)
    tail = GraphTail(taught.model, OnnxModule(taught.model), chosen)
    assert set(tail.trained) == chosen
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, 64, 64)).astype(np.float32)
    outputs = tail(tail.compute_features(image))
    whole = OnnxModule(taught.model)(torch.from_numpy(image))
    for name, value in zip([each.name for each in taught.model.graph.output], whole, strict=True):
        assert (outputs[name] - value).abs().max() < 1e-3


BOX = Box(0.1, 0.1, 0.4, 0.4)


def test_old_classes_are_mapped_by_name_or_by_their_boxes():
    truth = [(AnnotatedObject(0, BOX),), (AnnotatedObject(1, BOX),)]
    elsewhere = Box(0.6, 0.6, 0.9, 0.9)
    detections = [
        (Prediction("car", 0.9, BOX), Prediction("dog", 0.3, elsewhere)),
        (Prediction("dog", 0.9, BOX), Prediction("tree", 0.9, elsewhere), Prediction("tree", 0.2, BOX)),
    ]
    old, new = ("car", "dog", "tree", "person"), ("vehicle", "animal", "person")
    sources = class_mapping.map_classes(old, new, truth, detections)
    assert sources == [[0], [1], [3]]
    (first, second) = class_mapping.relabel_detections(detections, old, new, sources, 0.5)
    assert [each.label for each in first] == ["vehicle", "animal"]
    assert [each.label for each in second] == ["animal"]


def test_merged_boxes_of_one_object_are_one():
    found = [(Prediction("car", 0.6, BOX), Prediction("truck", 0.8, BOX))]
    (merged,) = class_mapping.relabel_detections(found, ("car", "truck"), ("vehicle",), [[0, 1]], 0.5)
    assert [(each.label, each.score) for each in merged] == [("vehicle", 0.8)]


def weaken_scores(detector, factor):
    """The detector with weaker weights of its objectness."""
    weights = {each.name: numpy_helper.to_array(each) for each in detector.model.graph.initializer}
    changed = {name: value * np.float32(factor) for name, value in weights.items() if name == "objectness.w"}
    return detector._replace(model=copy_with_weights(detector.model, changed))


def test_a_detector_learns_the_boxes_of_its_teacher_without_labels(squares, monkeypatch):
    detector, truth = squares
    paths = sorted(truth)
    monkeypatch.setattr(detector_distillation, "LEARNING_RATE", 1e-4)
    monkeypatch.setattr(detector_distillation, "STEPS", 40)
    student = weaken_scores(detector, 0.5)
    taught = detector_distillation.distil(detector, student, paths[:6], paths[12:16], no_progress)
    assert taught.steps == 40
    assert taught.loss < 0.7 * taught.loss_before
    before, after, goal = (
        [each.score for found in detect_in_float(one, paths[18:]) for each in found if each.score > 0.1]
        for one in (student, taught.detector, detector)
    )
    assert abs(np.mean(after) - np.mean(goal)) < abs(np.mean(before) - np.mean(goal))
    again = detector_distillation.distil(detector, student, paths[:6], paths[12:16], no_progress)
    assert again.detector.model.SerializeToString() == taught.detector.model.SerializeToString()


def test_a_student_that_only_gets_worse_keeps_its_weights(squares, monkeypatch):
    detector, truth = squares
    paths = sorted(truth)
    monkeypatch.setattr(detector_distillation, "LEARNING_RATE", 1e3)
    monkeypatch.setattr(detector_distillation, "STEPS", 20)
    taught = detector_distillation.distil(detector, detector, paths[:6], paths[12:16], no_progress)
    assert (taught.steps, taught.loss) == (0, taught.loss_before)
    assert taught.detector.model == detector.model


def test_the_teacher_itself_has_nothing_to_learn():
    reader = BoxReader(DECODINGS["yolox"][0], SPEC)
    outputs = {"box0": torch.zeros(1, 4, 8, 8), "objectness0": torch.full((1, 1, 8, 8), -12.0)}
    outputs["class0"] = torch.full((1, 3, 8, 8), -6.0)
    outputs["objectness0"][0, 0, 2, 3], outputs["class0"][0, 1, 2, 3] = 2.0, 3.0
    lesson = find_teacher_boxes(reader(outputs), 0.6)
    assert lesson.labels.tolist() == [1]
    score = torch.sigmoid(torch.tensor(2.0)) * torch.sigmoid(torch.tensor(3.0))
    assert lesson.scores[0] == pytest.approx(score.item(), abs=1e-5)
    assert float(teacher_loss(reader(outputs), [lesson])) < 1e-3
    doubtful = outputs | {"objectness0": outputs["objectness0"].clone().clamp(max=-1.0)}
    assert float(teacher_loss(reader(doubtful), [lesson])) > 0.5
    extra = outputs | {"objectness0": outputs["objectness0"].clone(), "class0": outputs["class0"].clone()}
    extra["objectness0"][0, 0, 6, 6], extra["class0"][0, 0, 6, 6] = 4.0, 4.0
    assert float(teacher_loss(reader(extra), [lesson])) > 1
