"""Object detectors: decoders compared with known boxes and with published networks, annotations, and a whole build.

The network that is built detects red and green squares of eight pixels; its weights are constructed, not trained.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from squares import LABELS, SIDE, draw_squares
from torch import nn

from vedette.compress.evaluation import max_f1_threshold
from vedette.compress.goal import goal_reader
from vedette.compress.goal.goal_tables import ModelTable
from vedette.compress.graph.importers import onnx_file, preprocessing_folding
from vedette.compress.graph.importers.detector_import import load_imported_detector
from vedette.compress.quantization.quantize_imported import quantize_post_training
from vedette.runtime.bundle.box_decoding import BoxDecoding
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.manifest import ModelInput, ModelOutput
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation import coco_map, object_annotations
from vedette.runtime.evaluation.annotated_object import AnnotatedObject
from vedette.runtime.evaluation.bundle_verification import verify_bundle
from vedette.runtime.inference import heads
from vedette.runtime.inference.backends.onnx import EXACT_KERNELS_OPTION
from vedette.runtime.inference.heads.detect import DetectHead
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.inference.preprocess import Preprocess

SCALE, ZERO = 1 / 16, 128


def manifest(family, shapes, anchors=(), side=SIDE, resize="stretch", scale=SCALE, labels=LABELS):
    """The part of a manifest that a detection head reads."""
    outputs = tuple(ModelOutput(name, (1, *shape), scale, 0 if scale == 1 else ZERO) for name, shape in shapes.items())
    spec = ModelInput("image", side, side, 0.0, 1.0, 1.0, 0, resize)
    boxes = BoxDecoding(family, 0.5, anchors)
    return SimpleNamespace(outputs=outputs, input=spec, boxes=boxes, labels=labels, threshold=0.5)


def empty_outputs(made):
    """Outputs without any object: every value is the lowest."""
    return {each.name: np.zeros(each.shape, np.uint8) for each in made.outputs}


def set_values(outputs, name, place, values):
    """Write real values into the channels of one grid cell."""
    row, column = place
    outputs[name][0, :, row, column] = np.round(np.asarray(values) / SCALE) + ZERO


def assert_single_detection(predictions, label, box, tolerance=0.004):
    (found,) = predictions
    assert found.label == label
    assert [found.box.left, found.box.top, found.box.right, found.box.bottom] == pytest.approx(box, abs=tolerance)
    return found.score


GRID = {f"{role}{level}": (count, side, side) for level, side in ((0, 8), (1, 4)) for role, count in
        (("box", 4), ("objectness", 1), ("class", 2))}  # fmt: skip


def test_yolox_decodes_a_box():
    """In cell (row 2, column 1) of the coarse grid: center 1/4 right and 1/2 down in it, two cells wide, one high."""
    made = manifest("yolox", GRID)
    outputs = empty_outputs(made)
    set_values(outputs, "objectness1", (2, 1), [3.0])
    set_values(outputs, "class1", (2, 1), [-3.0, 4.0])
    set_values(outputs, "box1", (2, 1), [0.25, 0.5, np.log(2), 0.0])
    score = assert_single_detection(DetectHead(made)(outputs), "green", [(1.25 - 1) / 4, 2 / 4, (1.25 + 1) / 4, 3 / 4])
    assert score == pytest.approx(1 / (1 + np.exp(-3)) / (1 + np.exp(-4)), abs=0.002)
    assert DetectHead(made, threshold=0.95)(outputs) == ()


def test_nanodet_decodes_distances_from_the_cell_center():
    made = manifest("nanodet", {"box0": (32, 8, 8), "class0": (2, 8, 8)})
    outputs = empty_outputs(made)
    set_values(outputs, "class0", (3, 4), [2.0, -2.0])
    bins = np.full((4, 8), -8.0)
    bins[[0, 1, 2, 3], [1, 2, 3, 0]] = 7.9  # left 1, top 2, right 3, bottom 0 cells away
    set_values(outputs, "box0", (3, 4), bins.ravel())
    assert_single_detection(DetectHead(made)(outputs), "red", [3.5 / 8, 1.5 / 8, 7.5 / 8, 3.5 / 8])


def test_fastestdet_decodes_sizes_as_shares_of_the_input():
    made = manifest("fastestdet", {"objectness0": (1, 8, 8), "box0": (4, 8, 8), "class0": (2, 8, 8)})
    outputs = empty_outputs(made)
    set_values(outputs, "objectness0", (5, 2), [4.0])
    set_values(outputs, "class0", (5, 2), [4.0, -4.0])
    set_values(outputs, "box0", (5, 2), [0.0, 0.0, 0.0, -np.log(3)])  # half as wide, a quarter as high as the input
    score = assert_single_detection(DetectHead(made)(outputs), "red", [0.0, 0.5, 0.5, 0.75])
    assert score == pytest.approx((1 / (1 + np.exp(-4))) ** 0.6, abs=0.01)


def test_ssd_decodes_offsets_from_anchors():
    """The second of two anchors, in cell (1, 2) of four by four: moved half its height down, doubled in width."""
    made = manifest("ssd", {"box0": (8, 4, 4), "class0": (4, 4, 4)}, (((0.1, 0.1), (0.2, 0.25)),))
    outputs = empty_outputs(made)
    set_values(outputs, "class0", (1, 2), [-4.0, -4.0, -4.0, 3.0])
    set_values(outputs, "box0", (1, 2), [0, 0, 0, 0, 5.0, 0.0, 0.0, 5 * np.log(2)])
    middle = 1.5 / 4 + 0.5 * 0.2
    assert_single_detection(
        DetectHead(made)(outputs), "green", [2.5 / 4 - 0.25, middle - 0.1, 2.5 / 4 + 0.25, middle + 0.1]
    )


def test_nms_keeps_one_box_of_each_class():
    made = manifest("yolox", GRID)
    outputs = empty_outputs(made)
    for column, objectness, classes in ((3, 2.0, [4.0, -4.0]), (4, 3.0, [4.0, -4.0]), (5, 1.0, [-4.0, 4.0])):
        set_values(outputs, "objectness0", (4, column), [objectness])
        set_values(outputs, "class0", (4, column), classes)
        set_values(outputs, "box0", (4, column), [4.5 - column, 0.5, np.log(3), np.log(3)])
    found = DetectHead(made)(outputs)
    assert [each.label for each in found] == ["red", "green"]
    assert found[0].score == pytest.approx(1 / (1 + np.exp(-3)) / (1 + np.exp(-4)), abs=0.002)


def test_boxes_of_a_letterboxed_frame_are_mapped_back():
    made = manifest("yolox", GRID, resize="letterbox")
    frame = np.zeros((100, 200, 3), np.uint8)
    frame[50:, 100:] = 255  # the lower right quarter
    seen = Preprocess(made.input)(frame)[0]
    assert (seen[:31, :31] == 0).all()
    assert (seen[18:31, 34:] == 255).all()
    assert (seen[32:] == 114).all()
    outputs = empty_outputs(made)
    set_values(outputs, "objectness0", (3, 6), [3.0])
    set_values(outputs, "class0", (3, 6), [4.0, -4.0])
    set_values(outputs, "box0", (3, 6), [0.0, 0.0, np.log(4), np.log(2)])  # 32 x 16 pixels about (48, 24)
    assert_single_detection(DetectHead(made)(outputs, frame.shape[:2]), "red", [0.5, 0.5, 1.0, 1.0], tolerance=0.02)


@pytest.mark.parametrize("family", [each for each in heads.BOX_DECODERS if each != "grid"])
def test_no_detections_without_scores(family):
    boxes = {"yolox": 4, "fastestdet": 4, "ssd": 4}.get(family, 64)
    shapes = {"box0": (boxes, 8, 8), "objectness0": (1, 8, 8), "class0": (2, 8, 8)}
    if family not in ("yolox", "fastestdet"):
        del shapes["objectness0"]
    made = manifest(family, shapes, (((0.1, 0.1),),))
    assert DetectHead(made)(empty_outputs(made)) == ()


class Published(nn.Module):
    """The published last layer of the family yolov8, with its decoder, behind a few random convolutions."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes
        self.stem = nn.ModuleList([nn.Sequential(nn.Conv2d(a, b, 3, s, 1), nn.SiLU()) for a, b, s in
                                   ((3, 8, 4), (8, 16, 2), (16, 24, 2))])  # fmt: skip
        self.boxes = nn.ModuleList([nn.Conv2d(width, 64, 1) for width in (16, 24)])
        self.names = nn.ModuleList([nn.Conv2d(width, classes, 1) for width in (16, 24)])
        self.mean = nn.Conv2d(16, 1, 1, bias=False)
        self.mean.weight.data = torch.arange(16.0).reshape(1, 16, 1, 1)

    def forward(self, image):
        first = self.stem[0](image)
        levels = [self.stem[1](first)]
        levels.append(self.stem[2](levels[0]))
        joined = [torch.cat([box(x), name(x)], 1) for x, box, name in zip(levels, self.boxes, self.names, strict=True)]
        whole = torch.cat([each.flatten(2) for each in joined], 2)
        box, name = whole.split((64, self.classes), 1)
        middles, strides = [], []
        for each, stride in zip(joined, (8, 16), strict=True):
            rows, columns = torch.meshgrid(torch.arange(each.shape[2]), torch.arange(each.shape[3]), indexing="ij")
            middles.append(torch.stack([columns.flatten(), rows.flatten()]) + 0.5)
            strides.append(torch.full((1, each.shape[2] * each.shape[3]), float(stride)))
        middle, stride = torch.cat(middles, 1), torch.cat(strides, 1)
        sides = self.mean(box.reshape(1, 4, 16, -1).transpose(2, 1).softmax(1)).reshape(1, 4, -1)
        low, high = middle - sides[:, :2], middle + sides[:, 2:]
        return torch.cat([torch.cat([(low + high) / 2, high - low], 1) * stride, name.sigmoid()], 1)


def test_yolov8_without_its_decoder_detects_as_published(tmp_path):
    """Every box that the graph decodes itself equals a box of the truncated graph behind our head."""
    torch.manual_seed(0)
    network = Published(3).eval()
    for each in network.names:
        each.weight.data *= 8
    path = tmp_path / "net.onnx"
    torch.onnx.export(network, (torch.zeros(1, 3, SIDE, SIDE),), path, dynamo=False, opset_version=17)
    found = load_imported_detector(tmp_path, ModelTable(onnx="net.onnx", family="yolov8"))
    assert found.labels == ("class 0", "class 1", "class 2")
    assert found.input_spec.resize == "letterbox"
    pixels = np.random.default_rng(1).integers(0, 256, (1, 3, SIDE, SIDE)).astype(np.float32)
    with torch.no_grad():
        answer = network(torch.from_numpy(pixels / 255))[0].numpy()
    session = onnxruntime.InferenceSession(found.model.SerializeToString())
    names = [each.name for each in session.get_outputs()]
    fed = (pixels - found.input_spec.mean) / found.input_spec.std
    made = dict(zip(names, session.run(names, {found.input_spec.name: fed.astype(np.float32)}), strict=True))
    shapes = {name: values.shape[1:] for name, values in made.items()}
    read = manifest("yolov8", shapes, scale=1, labels=found.labels)
    ours = DetectHead(read).decoder(made, 0.5)
    classes, cells = np.nonzero(answer[4:] >= 0.5)
    assert len(ours.scores) == len(cells) > 20
    x, y, width, height = answer[:4, cells]
    theirs = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1) / SIDE
    mine = np.c_[ours.classes, ours.scores, ours.edges]
    expected = np.c_[classes, answer[4:][classes, cells], theirs]
    np.testing.assert_allclose(mine[np.lexsort(mine.T)], expected[np.lexsort(expected.T)], atol=1e-4)


def test_wrong_family_is_refused(detection_images):
    with pytest.raises(ConfigProblem, match="last convolutions give") as problem:
        load_imported_detector(detection_images, ModelTable(onnx="net.onnx", family="yolov8"))
    assert "model.family" in problem.value.hint


def test_focus_is_folded_into_the_convolution():
    """A Focus layer and the convolution behind it become one convolution with the same outputs, at the edges too."""
    rng = np.random.default_rng(0)
    values = {"order": rng.permutation(12), "weight": rng.normal(size=(5, 12, 3, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("SpaceToDepth", ["image"], ["deep"], blocksize=2),
        helper.make_node("Gather", ["deep", "order"], ["turned"], axis=1),
        helper.make_node("Conv", ["turned", "weight"], ["made"], pads=[1] * 4),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 16])
    end = helper.make_tensor_value_info("made", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(each, name) for name, each in values.items()]
    graph = helper.make_graph(nodes, "g", [image], [end], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    pixels = {"image": rng.normal(size=(1, 3, 16, 16)).astype(np.float32)}
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(None, pixels)[0]
    made = preprocessing_folding.fold_space_to_depth(model)
    assert [each.op_type for each in made.graph.node] == ["Conv"]
    np.testing.assert_allclose(
        onnxruntime.InferenceSession(made.SerializeToString()).run(None, pixels)[0], before, atol=1e-4
    )


def test_silu_equalization_keeps_small_channels():
    """One channel reaches 100 and one 0.5: with one scale for both, the small one would have two steps."""
    rng = np.random.default_rng(0)
    first = rng.uniform(0.5, 1, (4, 3, 3, 3)) * np.array([40, 4, 0.2, 0.2]).reshape(-1, 1, 1, 1) / 27
    second = rng.uniform(0.5, 1, (4, 1, 3, 3)) / np.array([40, 4, 0.2, 0.2]).reshape(-1, 1, 1, 1)
    third = np.array([0.1, 0.1, 1, -1]).reshape(1, 4, 1, 1)
    values = {"w1": first, "w2": second, "w3": third, "b1": np.zeros(4), "b2": np.zeros(4), "b3": np.zeros(1)}
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["x"], name="a", pads=[1] * 4),
        helper.make_node("Sigmoid", ["x"], ["gate"], name="b"),
        helper.make_node("Mul", ["x", "gate"], ["y"], name="c"),
        helper.make_node("Conv", ["y", "w2", "b2"], ["z"], name="d", pads=[1] * 4, group=4),
        helper.make_node("Conv", ["z", "w3", "b3"], ["end"], name="e"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 16])
    end = helper.make_tensor_value_info("end", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(np.asarray(each, np.float32), name) for name, each in values.items()]
    graph = helper.make_graph(nodes, "g", [image], [end], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    pictures = [rng.integers(0, 256, (1, 16, 16, 3), dtype=np.uint8) for _ in range(6)]
    made = quantize_post_training(model, pictures, ModelInput("image", 16, 16, 0.0, 64.0, 1 / 64, 0))
    exact = onnxruntime.InferenceSession(model.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT_KERNELS_OPTION)
    rounded = onnxruntime.InferenceSession(made.SerializeToString(), options)
    real = [exact.run(None, {"image": p.transpose(0, 3, 1, 2).astype(np.float32) / 64})[0].ravel() for p in pictures]
    integers = [rounded.run(None, {"image": p})[0].ravel() for p in pictures]
    assert np.corrcoef(np.concatenate(real), np.concatenate(integers))[0, 1] > 0.99


def as_predictions(objects):
    return [tuple(Prediction(LABELS[each.label], 0.9, each.box) for each in one) for one in objects]


def test_mean_average_precision_of_known_cases():
    left, right = Box(0.1, 0.1, 0.3, 0.3), Box(0.6, 0.6, 0.9, 0.9)
    truth = [(AnnotatedObject(0, left),), (AnnotatedObject(1, right),)]
    assert coco_map.mean_average_precision(truth, as_predictions(truth), LABELS).map == pytest.approx(1.0)
    half = [as_predictions(truth)[0], ()]  # one class of two is found
    assert coco_map.mean_average_precision(truth, half, LABELS).map50 == pytest.approx(0.5)
    shifted = [(Prediction("red", 0.9, Box(0.14, 0.1, 0.34, 0.3)),), as_predictions(truth)[1]]  # overlaps by 2/3
    found = coco_map.mean_average_precision(truth, shifted, LABELS)
    assert found.map50 == pytest.approx(1.0)
    assert found.map == pytest.approx((4 / 10 + 1) / 2)
    crowd = [(AnnotatedObject(0, left), AnnotatedObject(0, right, crowd=True)), truth[1]]
    assert coco_map.mean_average_precision(crowd, as_predictions(truth), LABELS).map50 == pytest.approx(1.0)
    assert coco_map.mean_average_precision(truth, [(), ()], LABELS).map50 == 0.0


def test_operating_point_maximizes_f1():
    """Two right boxes, a wrong one between them and one below: at the second right box, two of three are right."""
    box, other, far = Box(0.1, 0.1, 0.3, 0.3), Box(0.5, 0.5, 0.7, 0.7), Box(0.8, 0.1, 0.9, 0.2)
    truth = [(AnnotatedObject(0, box), AnnotatedObject(0, other))]
    seen = [tuple(Prediction("red", score, each) for score, each in ((0.9, box), (0.8, far), (0.7, other), (0.6, far)))]
    line = max_f1_threshold.choose_operating_point(truth, seen, LABELS)
    assert (line.threshold, line.precision, line.recall) == (pytest.approx(0.65), pytest.approx(2 / 3), 1.0)
    assert max_f1_threshold.evaluate_threshold(0.85, truth, seen, LABELS).recall == 0.5


def test_yolo_and_coco_labels_agree(detection_images):
    yolo = object_annotations.read_annotations(detection_images / "images", detection_images / "labels", LABELS)
    coco = object_annotations.read_annotations(detection_images / "images", detection_images / "coco.json", LABELS)
    assert list(yolo) == list(coco)
    for path, objects in yolo.items():
        for one, other in zip(objects, coco[path], strict=True):
            assert one.label == other.label
            assert one.box.left == pytest.approx(other.box.left)
            assert one.box.bottom == pytest.approx(other.box.bottom)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("red 0.5 0.5 0.1 0.1", "not a row of numbers"),
        ("0 0.5 0.5 0.1", "5 are wanted"),
        ("2 0.5 0.5 0.1 0.1", "no class 2"),
        ("-1 0.5 0.5 0.1 0.1", "no class -1"),
        ("0 0.5 0.5 0 0.1", "box outside"),
        ("0 0.5 0.5 1.4 0.1", "box outside"),
        ("0 nan 0.5 0.1 0.1", "box outside"),
        ("0 320 240 64 64", "box outside"),
    ],
)
def test_invalid_label_is_named_with_its_line(tmp_path, line, said):
    draw_squares(tmp_path / "images", 1)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "00.txt").write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    with pytest.raises(ConfigProblem, match=said) as problem:
        object_annotations.read_annotations(tmp_path / "images", tmp_path / "labels", LABELS)
    assert "00.txt:3" in problem.value.message
    assert problem.value.hint


def test_outline_becomes_a_box_and_class_names_are_read(tmp_path):
    draw_squares(tmp_path / "images", 2)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "classes.txt").write_text("green\nred\n")
    (tmp_path / "labels" / "00.txt").write_text("0 0.2 0.3 0.6 0.1 0.4 0.9\n")
    found = object_annotations.read_annotations(tmp_path / "images", tmp_path / "labels", LABELS)
    (one,) = found[tmp_path / "images" / "00.png"]
    assert one == AnnotatedObject(1, Box(0.2, 0.1, 0.6, 0.9))
    assert found[tmp_path / "images" / "01.png"] == ()
    (tmp_path / "labels" / "classes.txt").write_text("blue\n")
    with pytest.raises(ConfigProblem, match="'blue' is not among"):
        object_annotations.read_annotations(tmp_path / "images", tmp_path / "labels", LABELS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("categories"), "no COCO file"),
        (lambda content: content["categories"][0].update(name="blue"), "'blue' is not among"),
        (lambda content: content["annotations"][0].update(bbox=[0, 0, 640, 8]), "box outside"),
        (lambda content: [each.update(file_name="x" + each["file_name"]) for each in content["images"]], "no image of"),
        (lambda content: content["images"][0].update(width=0), "its size"),
    ],
)
def test_invalid_coco_file_is_refused(detection_images, tmp_path, change, said):
    content = json.loads((detection_images / "coco.json").read_text())
    change(content)
    (tmp_path / "coco.json").write_text(json.dumps(content))
    with pytest.raises(ConfigProblem, match=said) as problem:
        object_annotations.read_annotations(detection_images / "images", tmp_path / "coco.json", LABELS)
    assert problem.value.hint


def test_labels_without_an_image_are_refused(detection_images, tmp_path):
    with pytest.raises(ConfigProblem, match="no label file"):
        object_annotations.read_annotations(detection_images / "images", tmp_path, LABELS)
    with pytest.raises(ConfigProblem, match="no such folder or file"):
        object_annotations.read_annotations(detection_images / "images", tmp_path / "nothing", LABELS)


def test_build_keeps_the_precision_of_the_detector(detection_build, keyring):
    manifest = Bundle.open(detection_build.bundle, keyring).manifest
    measured = manifest.measured
    assert detection_build.verdict.met
    assert measured["map50_fp32"] > 0.95
    assert measured["map50_int8_onnx"] >= measured["map50_fp32"] - 0.02
    assert measured["map50_int8_tflite"] >= measured["map50_fp32"] - 0.02
    assert measured["parity_max_steps"] <= 1
    assert measured["images"]["test_objects"] == 3 * measured["images"]["test"]
    assert (manifest.boxes.family, manifest.input.resize, manifest.labels) == ("yolox", "letterbox", LABELS)
    assert manifest.weights[0].licence == "Apache-2.0"
    assert {each.name for each in manifest.outputs} == {"box0", "objectness0", "class0"}
    assert "data:image/jpeg" in detection_build.report.read_text()


def test_verify_measures_detector_and_its_float_model(
    detection_build, keyring, key_folder, detection_images, call_vedette
):
    report = verify_bundle(Bundle.open(detection_build.bundle, keyring), detection_images)
    assert report.verified
    assert (report.pictures, report.objects) == (24, 72)
    assert report.map50_float > 0.95
    assert report.map50_int8_onnx == pytest.approx(report.map50_float, abs=0.02)
    assert report.map50_int8_tflite == pytest.approx(report.map50_float, abs=0.02)
    left = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    inside = verify_bundle(Bundle.open(detection_build.bundle, keyring), detection_images, region=left)
    assert 0 < inside.objects < report.objects
    assert inside.map50_int8_onnx > 0.9
    done = call_vedette("verify", detection_build.bundle, "--keys", key_folder, "--data", detection_images, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["map50_int8_onnx"] == report.map50_int8_onnx


def test_verify_ignores_a_float_model_of_another_build(detection_build, keyring, detection_images, tmp_path):
    bundle = tmp_path / detection_build.bundle.name
    bundle.write_bytes(detection_build.bundle.read_bytes())
    (tmp_path / "squares.float.onnx").write_bytes((detection_images / "net.onnx").read_bytes())
    report = verify_bundle(Bundle.open(bundle, keyring), detection_images)
    assert report.map50_float is None
    assert report.map50_int8_onnx > 0.9


def test_detections_become_events(detection_build, key_folder, detection_images, run_vedette, tmp_path):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text(f'[device]\nkeys = "{key_folder}"\n[broker]\nurl = "stdout:"\n')
    (tmp_path / "cameras" / "door.toml").write_text(
        f'source = "file:{detection_images / "images"}?fps=0"\nbundle = "{detection_build.bundle}"\n'
        '[[rules]]\nuse = "presence"\nlabels = ["red"]\n'
    )
    done = run_vedette("run", "door", "--config", tmp_path)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (seen,) = events[0]["data"]["predictions"]
    assert seen["label"] == "red"
    assert seen["box"]["right"] - seen["box"]["left"] == pytest.approx(
        0.125, abs=0.04
    )  # at an edge it ends with the frame


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('family = "yolox"\n', "", "model.family is missing"),
        ('family = "yolox"', 'family = "yolo"', "family"),
        ('onnx = "net.onnx"', 'tflite = "net.onnx"', 'belongs to family = "ssd"'),
        ('onnx = "net.onnx"', 'torch = "net.pt"', "takes no PyTorch module"),
        ('onnx = "net.onnx"\n', "", "no built-in model"),
        ('labels = "labels"\n', "", "data.labels is missing"),
        ('labels = "labels"', 'labels = "nothing"', "nothing at"),
        ('images = "images"\n', 'good = "images"\n', "data.good"),
        ("min_map50 = 0.9", "min_auroc = 0.9", "goal.min_auroc"),
        ("[goal]", '[[recipe]]\nuse = "prune"\n[goal]', "prune does not apply"),
        ("min_map50 = 0.9", "min_map50 = 1.5", "min_map50"),
        ('task = "detect"', 'task = "embed"', "detect"),
    ],
)
def test_contradictory_goal_file_is_refused(detection_images, tmp_path, old, new, said):
    text = (detection_images / "goal.toml").read_text()
    assert old in text
    for each in detection_images.iterdir():
        (tmp_path / each.name).symlink_to(each)
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigProblem) as problem:
        goal_reader.read_goal(path)
    assert said in problem.value.message + (problem.value.hint or "")
    assert problem.value.hint


def test_too_few_class_names_are_refused(detection_images):
    (detection_images / "few.txt").write_text("red\n")
    with pytest.raises(ConfigProblem, match="1 names for 2 classes"):
        load_imported_detector(detection_images, ModelTable(onnx="net.onnx", family="yolox", labels="few.txt"))


def test_input_size_can_change_if_the_graph_allows_it(detection_images):
    """A fully convolutional graph gets another grid; the fixed shape behind the convolutions is cut off."""
    found = load_imported_detector(
        detection_images, ModelTable(onnx="net.onnx", family="yolox", labels="names.txt", input=96)
    )
    assert (found.input_spec.width, found.input_spec.height) == (96, 96)
    shapes = [[dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in found.model.graph.output]
    assert shapes == [[1, 4, 12, 12], [1, 1, 12, 12], [1, 2, 12, 12]]
    assert (
        onnx_file.read_onnx_file(detection_images / "net.onnx").graph.input[0].type.tensor_type.shape.dim[2].dim_value
        == SIDE
    )


@pytest.mark.slow
def test_build_teaches_the_classes_of_the_labels(detection_images, keyring, build_bundle, tmp_path):
    """The network knows red and green; the labels know other names, and the goal file has no other key for it."""
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("images", "net.onnx", "names.txt"):
        (folder / name).symlink_to(detection_images / name)
    (folder / "labels").mkdir()
    for file in (detection_images / "labels").glob("*.txt"):
        (folder / "labels" / file.name).write_text(file.read_text())
    (folder / "labels" / "classes.txt").write_text("ruby\nemerald\n")
    text = (detection_images / "goal.toml").read_text()
    (folder / "goal.toml").write_text(text + '[[recipe]]\nuse = "train"\nepochs = 5\n')
    built = build_bundle(folder / "goal.toml", tmp_path / "out")
    manifest = Bundle.open(built.bundle, keyring).manifest
    assert built.verdict.met
    assert manifest.labels == ("ruby", "emerald")
    assert manifest.measured["training"]["begins_as"] == {"ruby": ["red"], "emerald": ["green"]}
    assert manifest.measured["map50_untrained"] > 0.95
    assert manifest.measured["map50_int8_tflite"] > 0.9
    assert manifest.measured["parity_max_steps"] == 0
    page = built.report.read_text()
    assert "Without training" in page
    assert "begin" in page or "began as" in page
