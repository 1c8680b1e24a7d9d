"""Costs of the operators of object detectors: their classes, and the data movements of the back ends."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper
from paths import SHARED

from vedette import devices
from vedette.compress.cost import operator_counts
from vedette.compress.export.tflite import write_tflite
from vedette.compress.graph.importers import onnx_file
from vedette.compress.graph.importers.lowering import lower_graph
from vedette.compress.models import efficientnet_lite
from vedette.compress.quantization.quantize_imported import quantize_post_training

MODELS = SHARED / "models"
SIDE = 16
# Counts on their int8 models, in million instructions on a Cortex-A76: ONNX Runtime, LiteRT.
COUNTED = {
    "fastestdet/FastestDet_352.onnx": (47.9, 32.9),
    "nanodet/nanodet_m_320.onnx": (103.3, 59.5),
    "yolox_nano/yolox_nano_416_coco.onnx": (192.9, 100.2),
}


def graph(text, channels=16):
    """A float graph: a convolution of the image `x` with `channels` outputs, and then the nodes in `text`."""
    rng = np.random.default_rng(0)
    stem = "s = Conv<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x, w)"
    head = f'<ir_version: 10, opset_import: ["" : 20]> g (float[1, 3, {SIDE}, {SIDE}] x) => (y)'
    model = onnx.parser.parse_model(f"{head} {{ {stem} {text} }}")
    weights = {"w": (channels, 3, 3, 3), "v": (channels, channels, 1, 1), "half": (channels // 2, channels // 2, 1, 1)}
    for name, shape in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name))
    numbers = {
        "apart": [1, 2, channels // 2, SIDE, SIDE],
        "pairs": [1, channels // 2, 2, SIDE, SIDE],
        "whole": [1, channels, SIDE, SIDE],
        "edges": [0, 0, 1, 1, 0, 0, 1, 1],
    }
    for name, values in numbers.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    for place, name in enumerate(("first", "second")):
        model.graph.initializer.append(numpy_helper.from_array(np.array(place, np.int64), name))
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


POOL = "y = MaxPool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]>(s)"
DEINTERLEAVED = """r = Reshape(s, pairs) a = Gather<axis=2>(r, first) b = Gather<axis=2>(r, second)
    c = Conv(b, half) d = Concat<axis=1>(a, c) y = Conv(d, v)"""
SHUFFLED = """r = Reshape(s, apart) t = Transpose<perm=[0, 2, 1, 3, 4]>(r) u = Reshape(t, whole)
    a, b = Split<axis=1, num_outputs=2>(u) c = Conv(b, half) d = Concat<axis=1>(a, c)
    r2 = Reshape(d, apart) t2 = Transpose<perm=[0, 2, 1, 3, 4]>(r2) u2 = Reshape(t2, whole) y = Conv(u2, v)"""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (POOL, "pool"),
        ("y = Sigmoid(s)", "curve"),
        ("y = LeakyRelu<alpha=0.1>(s)", "leaky"),
        ("y = LeakyRelu<alpha=0.0>(s)", "rectify"),
        ("y = Mul(s, s)", "elementwise"),
        ('y = Pad<mode="edge">(s, edges)', "edge"),
    ],
)
@pytest.mark.parametrize("backend", ["onnx", "tflite"])
def test_classes_of_detector_operators(text, kind, backend):
    kinds = [each.operator_class for each in operator_counts.count_operators(graph(text), backend)]
    assert kinds.count(kind) == 1
    assert set(kinds) <= {"stem", kind, "transpose", "pad"}


def test_mul_of_two_activations_is_a_product():
    works = operator_counts.count_operators(graph("a = Sigmoid(s) y = Mul(s, a)"))
    assert [each.operator_class for each in works] == ["stem", "curve", "product"]


@pytest.mark.parametrize(("backend", "taps"), [("onnx", 23**2), ("tflite", 24**2)])
def test_pool_reads_patches_and_has_no_macs(backend, taps):
    """ONNX Runtime skips elements outside the image."""
    (pool,) = [each for each in operator_counts.count_operators(graph(POOL), backend) if each.operator_class == "pool"]
    assert pool.reads == taps * 16
    assert pool.output_elements == 8 * 8 * 16
    assert pool.macs == 0


@pytest.mark.parametrize("backend", ["onnx", "tflite"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_pool_costs_less_than_a_reduction(backend, precision):
    """ONNX Runtime reduces int8 tensors in float, which is expensive; its pools compute in int8."""
    works = operator_counts.count_operators(graph(POOL), backend, precision)
    assert {each.precision for each in works} == {precision}
    pool = next(each for each in works if each.operator_class == "pool")
    for name in ("pi4", "pi5", "zero2w"):
        assert devices.load_profile(name).predict_cost(backend, [pool]).instructions < 40 * pool.reads + 400_000


@pytest.mark.parametrize("text", [DEINTERLEAVED, SHUFFLED, POOL], ids=["deinterleaved", "shuffled", "pool"])
def test_counted_movements_agree_with_the_tflite_file(text):
    """Before quantization, and after."""
    real = lower_graph(graph(text))
    pictures = [np.random.default_rng(n).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8) for n in range(2)]
    integers = quantize_post_training(real, pictures, efficientnet_lite.backbone_input_spec(SIDE))
    file = schema.ModelT.InitFromPackedBuf(write_tflite(integers), 0)
    codes = [each.builtinCode for each in file.operatorCodes]
    found = Counter(codes[each.opcodeIndex] for each in file.subgraphs[0].operators)
    for works in (
        operator_counts.count_operators(integers, "tflite"),
        operator_counts.count_operators(real, "tflite", "int8"),
    ):
        kinds = Counter(each.operator_class for each in works)
        assert kinds["transpose"] + kinds["deal"] == found[schema.BuiltinOperator.TRANSPOSE]
        # The pool needs one row above and one column on the left.
        assert kinds["split"] + 2 * kinds["pad"] == found[schema.BuiltinOperator.SLICE]
        assert kinds["pad"] == (text is POOL)
        assert not found[schema.BuiltinOperator.PADV2]


def test_contiguous_runs_are_copied_at_once():
    """Every second channel: both back ends copy map by map."""
    for backend in ("tflite", "onnx"):
        cuts = [
            each
            for each in operator_counts.count_operators(graph(DEINTERLEAVED), backend, "int8")
            if each.operator_class == "split"
        ]
        assert [each.output_channels for each in cuts] == [SIDE * SIDE] * 2
        assert {each.output_elements for each in cuts} == {SIDE * SIDE * 8}


def test_onnx_runtime_transposes_no_float_tensors():
    as_float, as_int8 = (
        [each.operator_class for each in operator_counts.count_operators(graph(DEINTERLEAVED), "onnx", precision)]
        for precision in (None, "int8")
    )
    assert "transpose" not in as_float
    assert "transpose" in as_int8


@pytest.mark.parametrize("name", sorted(COUNTED))
def test_predictions_agree_with_counts_of_unseen_detectors(name):
    """Predicted before quantization, from shapes alone."""
    if not (MODELS / name).exists():
        pytest.skip("no shared data here")
    real = lower_graph(onnx_file.canonicalize_graph(onnx_file.read_onnx_file(MODELS / name), None, name))
    for backend, counted in zip(("onnx", "tflite"), COUNTED[name], strict=True):
        found = operator_counts.predict_cost(devices.load_profile("pi5"), real, backend, "int8")
        assert found.instructions / 1e6 == pytest.approx(counted, rel=0.15)
