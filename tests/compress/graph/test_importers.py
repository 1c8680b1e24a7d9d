"""Foreign graphs, lowered and given their scales: both files compute the same integers, whatever the numbers are.

Each example is a small float network with random weights, quantised as a user's would be. Where single operators may
differ by a step (tests/compress/export/test_tflite.py), the scales are chosen so that here they do not.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vedette.compress.export import tflite
from vedette.compress.graph.importers import lowering
from vedette.compress.quantization.quantize_imported import int8 as int8_of
from vedette.compress.quantization.scales import percentile_ranges, rounding_ties
from vedette.runtime.bundle.manifest import Input
from vedette.runtime.inference.backends.onnx import EXACT

EXAMPLES = settings(max_examples=12)
seeds = st.integers(0, 2**32 - 1)
SIDE, CHANNELS = 12, 8


class Network:
    """A convolution, and what follows; every convolution has random weights."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        self.last = self.convolution("image", 3, CHANNELS)

    def constant(self, values):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def convolution(self, source, inputs, outputs, stride=1):
        size = self.rng.choice([1, 3])
        spread = 1 / np.sqrt(inputs * size * size)
        weight = self.rng.normal(0, spread, (outputs, inputs, size, size)).astype(np.float32)
        bias = self.rng.normal(0, 0.3, outputs).astype(np.float32)
        given = [source, self.constant(weight), self.constant(bias)]
        return self.add("Conv", given, pads=[size // 2] * 4, strides=[stride] * 2)

    def add(self, kind, inputs, number=1, **attributes):
        made = [f"{kind}{len(self.nodes)}.{place}" for place in range(number)]
        self.nodes.append(helper.make_node(kind, inputs, made, name=made[0], **attributes))
        return made[0] if number == 1 else made

    def model(self, *outputs):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
        values = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs]
        graph = helper.make_graph(self.nodes, "g", [image], values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def both(network, *outputs):
    """The largest difference of the two files in steps, and the least correlation to float, over all outputs."""
    plain = network.model(*outputs)
    model = lowering.lower(plain)
    pictures = [network.rng.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8) for _ in range(4)]
    feeds = [{"image": ((each.astype(np.float32) - 128) / 64).transpose(0, 3, 1, 2)} for each in pictures]
    int8 = int8_of(model, pictures[:3], Input("image", SIDE, SIDE, 128.0, 64.0, 1 / 64, 128))
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT)
    session = onnxruntime.InferenceSession(int8.SerializeToString(), options)
    exact = onnxruntime.InferenceSession(plain.SerializeToString())
    interpreter = Interpreter(model_content=tflite.write(int8), num_threads=1)
    interpreter.allocate_tensors()
    places = {each["name"]: each["index"] for each in interpreter.get_output_details()}
    steps, likeness = 0, 1.0
    names = [each.name for each in int8.graph.output]
    for picture, feed in zip(pictures, feeds, strict=True):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], (picture ^ 0x80).view(np.int8))
        interpreter.invoke()
        runs = zip(
            names, session.run(names, {"image": picture}), exact.run(None, feed), strict=len(outputs) == len(names)
        )
        for name, expected, real in runs:
            got = (interpreter.get_tensor(places[name]).view(np.uint8) ^ 0x80).reshape(expected.shape)
            steps = max(steps, int(np.abs(got.astype(int) - expected.astype(int)).max()))
            likeness = min(likeness, float(np.corrcoef(expected.ravel(), real.ravel())[0, 1]))
    return steps, likeness


@EXAMPLES
@given(seeds, st.sampled_from(["silu", "leaky", "hardswish", "relu6", "squeeze"]), st.floats(0.01, 0.4))
def test_activations(seed, kind, alpha):
    network = Network(seed)
    for _ in range(2):
        last = network.last
        if kind == "silu":
            made = network.add("Mul", [last, network.add("Sigmoid", [last])])
        elif kind == "leaky":
            made = network.add("LeakyRelu", [last], alpha=alpha)
        elif kind == "squeeze":
            mean = network.add("GlobalAveragePool", [last])
            made = network.add("Mul", [last, network.add("Sigmoid", [network.convolution(mean, CHANNELS, CHANNELS)])])
        elif kind == "hardswish":
            made = network.add("HardSwish", [last])
        else:
            limits = [network.constant(np.float32(each)) for each in (0, 1)]
            made = network.add("Clip", [last, *limits])
        network.last = network.convolution(made, CHANNELS, CHANNELS)
    steps, likeness = both(network, network.last)
    assert steps <= (kind == "squeeze"), "a mean may lie half way between two steps"
    assert likeness > 0.95


@EXAMPLES
@given(seeds, st.sampled_from(["AveragePool", "GlobalAveragePool", "half", "double", "ReduceMean"]))
def test_means_and_bilinear_sizes(seed, kind):
    network = Network(seed)
    if kind == "AveragePool":
        how = {"kernel_shape": [2, 2], "strides": [2, 2]}
        made = network.add(kind, [network.last], **how)
    elif kind == "GlobalAveragePool":
        made = network.add(kind, [network.last])
    elif kind == "ReduceMean":
        made = network.add(kind, [network.last, network.constant(np.array([2, 3]))], keepdims=0)
    else:
        factor = 0.5 if kind == "half" else 2.0
        factors = network.constant(np.array([1, 1, factor, factor], np.float32))
        made = network.add("Resize", [network.last, "", factors], mode="linear")
    steps, likeness = both(network, made)
    assert steps == 0
    assert likeness > 0.95


@EXAMPLES
@given(seeds, st.sampled_from(["Add", "Sub", "Mul", "Div"]), st.booleans(), st.booleans())
def test_constants_for_each_channel(seed, kind, before, each):
    network = Network(seed)
    values = network.rng.uniform(0.5, 2, (CHANNELS, 1, 1) if each else ()).astype(np.float32)
    inputs = [network.last, network.constant(values)]
    made = network.add(kind, inputs[::-1] if before and kind != "Div" else inputs)
    steps, likeness = both(network, made)
    assert steps == 0
    assert likeness > 0.95


@EXAMPLES
@given(seeds, st.sampled_from([2, 4]), st.sampled_from([1, 2]))
def test_convolutions_in_groups(seed, groups, stride):
    network = Network(seed)
    weight = network.rng.normal(0, 0.3, (2 * CHANNELS, CHANNELS // groups, 3, 3)).astype(np.float32)
    inputs = [network.last, network.constant(weight)]
    made = network.add("Conv", inputs, group=groups, strides=[stride] * 2, pads=[1] * 4)
    steps, likeness = both(network, made)
    assert steps == 0
    assert likeness > 0.95


@EXAMPLES
@given(
    seeds,
    st.lists(st.sampled_from(["plain", "Relu", "Sigmoid", "Clip", "LeakyRelu"]), min_size=2, max_size=3),
    st.sampled_from(["", "Relu", "Clip", "LeakyRelu"]),
)
def test_what_is_joined_has_one_scale(seed, kinds, end):
    """A rectified branch beside one that is not, a bounded one beside one that is not; then two are added."""
    network = Network(seed)
    branches = []
    for kind in kinds:
        made = network.convolution(network.last, CHANNELS, CHANNELS)
        limits = [network.constant(np.float32(each)) for each in (0, 1)] if kind == "Clip" else []
        branches.append(made if kind == "plain" else network.add(kind, [made, *limits]))
    joined = network.add("Concat", branches, axis=1)
    total = network.add("Add", [network.convolution(joined, CHANNELS * len(kinds), CHANNELS), branches[0]])
    if end == "Clip":
        total = network.add("Clip", [total, *(network.constant(np.float32(each)) for each in (0, 1))])
    elif end:
        total = network.add(end, [total])
    steps, likeness = both(network, network.convolution(total, CHANNELS, CHANNELS))
    assert steps == 0
    assert likeness > 0.9


def test_what_a_head_joins_at_last_is_taken_apart():
    network = Network(3)
    boxes = network.convolution(network.last, CHANNELS, 4)
    classes = network.add("Sigmoid", [network.convolution(network.last, CHANNELS, 5)])
    joined = network.add("Concat", [boxes, classes], axis=1)
    flat = network.add("Reshape", [joined, network.constant(np.array([1, 9, SIDE * SIDE]))])
    model = lowering.lower(network.model(network.add("Transpose", [flat], perm=[0, 2, 1])))
    assert [each.name for each in model.graph.output] == [boxes, classes]


@EXAMPLES
@given(st.floats(0.005, 0.08), st.integers(0, 200), st.integers(201, 255))
def test_a_gate_on_the_fence_is_seen(step, zero, integer):
    """The scale of the product is such that one of its 256 values lies half way between two steps."""
    entry = step, zero
    x = integer - zero
    product = x * min(round(256 / (1 + np.exp(-step * x))), 255) / 256 * step
    result = product / (round(product / step) + 0.5), 0
    assert not rounding_ties.gate(entry, result)
    assert any(rounding_ties.gate(entry, (result[0] * (1 + attempt / 1000), 0)) for attempt in range(200))


def test_products_of_any_two_integers_are_looked_at():
    assert not rounding_ties.product((0.5, 0), (0.5, 0), (0.5, 0))  # one times one is half a step
    assert rounding_ties.product((0.5, 0), (0.5, 0), (0.25, 0))


def test_a_gate_that_needs_no_negative_numbers_spends_no_steps_on_them():
    """Below -4 the product is less than a step of what is large: those steps are worth more above."""
    network = Network(0)
    values = np.random.default_rng(0).normal(0, 3, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)
    moved = network.add("Add", [network.last, network.constant(8 * values)])
    made = network.add("Mul", [moved, network.add("Sigmoid", [moved])])
    plain = network.model(made)
    feeds = [{"image": network.rng.normal(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32)} for _ in range(3)]
    reach = percentile_ranges.extents(plain, feeds)
    assert percentile_ranges.gated(plain.graph) == [moved]
    assert reach[moved][1] > 40
    assert -percentile_ranges.FLAT < reach[moved][0] < -0.5
