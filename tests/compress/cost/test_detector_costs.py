"""What detectors' operators cost: their kinds, and what the back ends move for them."""

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
from vedette.compress.export import tflite
from vedette.compress.graph.importers import onnx_file
from vedette.compress.graph.importers.lowering import lower
from vedette.compress.models import efficientnet_lite
from vedette.compress.quantization.quantize_imported import int8

MODELS = SHARED / "models"
SIDE = 16
# Counted on the int8 models that were made of them, million instructions on a Cortex-A76: ONNX Runtime, LiteRT.
COUNTED = {
    "fastestdet/FastestDet_352.onnx": (47.9, 48.3),
    "nanodet/nanodet_m_320.onnx": (103.3, 90.1),
    "yolox_nano/yolox_nano_416_coco.onnx": (192.9, 100.2),
}


def graph(text, channels=16):
    """A float graph: a convolution of the image `x` with `channels` outputs, and then what `text` says."""
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
DEALT = """r = Reshape(s, pairs) a = Gather<axis=2>(r, first) b = Gather<axis=2>(r, second)
    c = Conv(b, half) d = Concat<axis=1>(a, c) y = Conv(d, v)"""
TURNED = """r = Reshape(s, apart) t = Transpose<perm=[0, 2, 1, 3, 4]>(r) u = Reshape(t, whole)
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
def test_kinds_of_detectors_operators(text, kind, backend):
    kinds = [each.kind for each in operator_counts.of(graph(text), backend)]
    assert kinds.count(kind) == 1
    assert set(kinds) <= {"stem", kind, "transpose", "pad"}


def test_a_product_of_two_activations_is_one():
    works = operator_counts.of(graph("a = Sigmoid(s) y = Mul(s, a)"))
    assert [each.kind for each in works] == ["stem", "curve", "product"]


@pytest.mark.parametrize(("backend", "taps"), [("onnx", 23**2), ("tflite", 24**2)])
def test_a_pool_looks_at_patches_and_multiplies_nothing(backend, taps):
    """ONNX Runtime leaves out what lies outside the image."""
    (pool,) = [each for each in operator_counts.of(graph(POOL), backend) if each.kind == "pool"]
    assert pool.reads == taps * 16
    assert pool.elements == 8 * 8 * 16
    assert pool.macs == 0


@pytest.mark.parametrize("backend", ["onnx", "tflite"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_pool_is_priced_as_no_reduction(backend, precision):
    """ONNX Runtime reduces integers in float, and dearly; its pools are of integers."""
    works = operator_counts.of(graph(POOL), backend, precision)
    assert {each.precision for each in works} == {precision}
    pool = next(each for each in works if each.kind == "pool")
    for name in ("pi4", "pi5", "zero2w"):
        assert devices.load(name).predict(backend, [pool]).instructions < 40 * pool.reads + 400_000


@pytest.mark.parametrize("text", [DEALT, TURNED, POOL], ids=["dealt", "turned", "pool"])
def test_what_lite_rt_moves_is_what_its_file_moves(text):
    """Before the model is quantised, and after."""
    real = lower(graph(text))
    pictures = [np.random.default_rng(n).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8) for n in range(2)]
    integers = int8(real, pictures, efficientnet_lite.input_of(SIDE))
    file = schema.ModelT.InitFromPackedBuf(tflite.write(integers), 0)
    codes = [each.builtinCode for each in file.operatorCodes]
    found = Counter(codes[each.opcodeIndex] for each in file.subgraphs[0].operators)
    for works in (operator_counts.of(integers, "tflite"), operator_counts.of(real, "tflite", "int8")):
        kinds = Counter(each.kind for each in works)
        assert kinds["transpose"] + kinds["deal"] == found[schema.BuiltinOperator.TRANSPOSE]
        assert kinds["split"] == found[schema.BuiltinOperator.SLICE]
        assert kinds["pad"] == found[schema.BuiltinOperator.PADV2]


def test_what_lies_together_is_moved_at_once():
    """Every second channel: in LiteRT turned and then place by place, in ONNX Runtime map by map."""
    for backend, run in (("tflite", 8), ("onnx", SIDE * SIDE)):
        cuts = [each for each in operator_counts.of(graph(DEALT), backend, "int8") if each.kind == "split"]
        assert [each.outputs for each in cuts] == [run, run]
        assert {each.elements for each in cuts} == {SIDE * SIDE * 8}


def test_floats_stay_as_they_are_in_onnx_runtime():
    assert not [each for each in operator_counts.of(graph(DEALT)) if each.kind == "transpose"]
    assert [each for each in operator_counts.of(graph(DEALT), "onnx", "int8") if each.kind == "transpose"]


@pytest.mark.parametrize("name", sorted(COUNTED))
def test_detectors_that_nothing_was_fitted_to(name):
    """Predicted before they are quantised, by shapes alone."""
    if not (MODELS / name).exists():
        pytest.skip("no shared data here")
    real = lower(onnx_file.plain(onnx_file.read(MODELS / name), None, name))
    for backend, counted in zip(("onnx", "tflite"), COUNTED[name], strict=True):
        found = operator_counts.predict(devices.load("pi5"), real, backend, "int8")
        assert found.instructions / 1e6 == pytest.approx(counted, rel=0.15)
