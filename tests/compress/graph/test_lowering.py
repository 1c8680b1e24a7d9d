"""Lowered and quantized graphs compute the same integers in ONNX Runtime and LiteRT, for random weights.

Each example is a small float network with random weights, quantized like an imported model. Single operators may differ
by a step (tests/compress/export/test_tflite.py); here quantization chooses scales for which they do not.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vedette.compress.export.tflite import write_tflite
from vedette.compress.graph.importers import lowering
from vedette.compress.quantization.quantize_imported import quantize_post_training as int8_of
from vedette.compress.quantization.scales import percentile_ranges, rounding_tie_checks
from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.inference.backends.onnx import EXACT_KERNELS_OPTION

FEW_EXAMPLES = settings(max_examples=12)
seeds = st.integers(0, 2**32 - 1)
SIDE, CHANNELS = 12, 8


class GraphBuilder:
    """Builds a float graph that starts with a convolution; all convolutions have random weights."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        self.last_tensor = self.add_convolution("image", 3, CHANNELS)

    def add_constant(self, values):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add_convolution(self, source, inputs, outputs, stride=1):
        size = self.rng.choice([1, 3])
        spread = 1 / np.sqrt(inputs * size * size)
        weight = self.rng.normal(0, spread, (outputs, inputs, size, size)).astype(np.float32)
        bias = self.rng.normal(0, 0.3, outputs).astype(np.float32)
        given = [source, self.add_constant(weight), self.add_constant(bias)]
        return self.add("Conv", given, pads=[size // 2] * 4, strides=[stride] * 2)

    def add(self, kind, inputs, number=1, **attributes):
        made = [f"{kind}{len(self.nodes)}.{place}" for place in range(number)]
        self.nodes.append(helper.make_node(kind, inputs, made, name=made[0], **attributes))
        return made[0] if number == 1 else made

    def build_model(self, *outputs):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
        values = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs]
        graph = helper.make_graph(self.nodes, "g", [image], values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def compare_backends(network, *outputs):
    """Largest difference of the two back ends in steps, and lowest correlation with float, over all outputs."""
    plain = network.build_model(*outputs)
    model = lowering.lower_graph(plain)
    images = [network.rng.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8) for _ in range(4)]
    feeds = [{"image": ((each.astype(np.float32) - 128) / 64).transpose(0, 3, 1, 2)} for each in images]
    int8 = int8_of(model, images[:3], ModelInput("image", SIDE, SIDE, 128.0, 64.0, 1 / 64, 128))
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT_KERNELS_OPTION)
    session = onnxruntime.InferenceSession(int8.SerializeToString(), options)
    exact = onnxruntime.InferenceSession(plain.SerializeToString())
    interpreter = Interpreter(model_content=write_tflite(int8), num_threads=1)
    interpreter.allocate_tensors()
    places = {each["name"]: each["index"] for each in interpreter.get_output_details()}
    steps, correlation = 0, 1.0
    names = [each.name for each in int8.graph.output]
    for image, feed in zip(images, feeds, strict=True):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], (image ^ 0x80).view(np.int8))
        interpreter.invoke()
        runs = zip(
            names, session.run(names, {"image": image}), exact.run(None, feed), strict=len(outputs) == len(names)
        )
        for name, expected, real in runs:
            got = (interpreter.get_tensor(places[name]).view(np.uint8) ^ 0x80).reshape(expected.shape)
            steps = max(steps, int(np.abs(got.astype(int) - expected.astype(int)).max()))
            correlation = min(correlation, float(np.corrcoef(expected.ravel(), real.ravel())[0, 1]))
    return steps, correlation


@FEW_EXAMPLES
@given(seeds, st.sampled_from(["silu", "leaky", "hardswish", "relu6", "squeeze"]), st.floats(0.01, 0.4))
def test_lowered_activations_agree_in_both_back_ends(seed, kind, alpha):
    network = GraphBuilder(seed)
    for _ in range(2):
        last = network.last_tensor
        if kind == "silu":
            made = network.add("Mul", [last, network.add("Sigmoid", [last])])
        elif kind == "leaky":
            made = network.add("LeakyRelu", [last], alpha=alpha)
        elif kind == "squeeze":
            mean = network.add("GlobalAveragePool", [last])
            made = network.add(
                "Mul", [last, network.add("Sigmoid", [network.add_convolution(mean, CHANNELS, CHANNELS)])]
            )
        elif kind == "hardswish":
            made = network.add("HardSwish", [last])
        else:
            limits = [network.add_constant(np.float32(each)) for each in (0, 1)]
            made = network.add("Clip", [last, *limits])
        network.last_tensor = network.add_convolution(made, CHANNELS, CHANNELS)
    steps, correlation = compare_backends(network, network.last_tensor)
    assert steps <= (kind == "squeeze"), "a mean may be a rounding tie"
    assert correlation > 0.95


@FEW_EXAMPLES
@given(seeds, st.sampled_from(["AveragePool", "GlobalAveragePool", "half", "double", "ReduceMean"]))
def test_lowered_means_and_bilinear_resizes_are_exact(seed, kind):
    network = GraphBuilder(seed)
    if kind == "AveragePool":
        how = {"kernel_shape": [2, 2], "strides": [2, 2]}
        made = network.add(kind, [network.last_tensor], **how)
    elif kind == "GlobalAveragePool":
        made = network.add(kind, [network.last_tensor])
    elif kind == "ReduceMean":
        made = network.add(kind, [network.last_tensor, network.add_constant(np.array([2, 3]))], keepdims=0)
    else:
        factor = 0.5 if kind == "half" else 2.0
        factors = network.add_constant(np.array([1, 1, factor, factor], np.float32))
        made = network.add("Resize", [network.last_tensor, "", factors], mode="linear")
    steps, correlation = compare_backends(network, made)
    assert steps == 0
    assert correlation > 0.95


@FEW_EXAMPLES
@given(seeds, st.sampled_from(["Add", "Sub", "Mul", "Div"]), st.booleans(), st.booleans())
def test_lowered_channel_arithmetic_is_exact(seed, kind, before, each):
    network = GraphBuilder(seed)
    values = network.rng.uniform(0.5, 2, (CHANNELS, 1, 1) if each else ()).astype(np.float32)
    inputs = [network.last_tensor, network.add_constant(values)]
    made = network.add(kind, inputs[::-1] if before and kind != "Div" else inputs)
    steps, correlation = compare_backends(network, made)
    assert steps == 0
    assert correlation > 0.95


@FEW_EXAMPLES
@given(seeds, st.sampled_from([2, 4]), st.sampled_from([1, 2]))
def test_lowered_grouped_convolutions_are_exact(seed, groups, stride):
    network = GraphBuilder(seed)
    weight = network.rng.normal(0, 0.3, (2 * CHANNELS, CHANNELS // groups, 3, 3)).astype(np.float32)
    inputs = [network.last_tensor, network.add_constant(weight)]
    made = network.add("Conv", inputs, group=groups, strides=[stride] * 2, pads=[1] * 4)
    steps, correlation = compare_backends(network, made)
    assert steps == 0
    assert correlation > 0.95


@FEW_EXAMPLES
@given(
    seeds,
    st.lists(st.sampled_from(["plain", "Relu", "Sigmoid", "Clip", "LeakyRelu"]), min_size=2, max_size=3),
    st.sampled_from(["", "Relu", "Clip", "LeakyRelu"]),
)
def test_concatenated_and_added_tensors_share_a_scale(seed, kinds, end):
    """Concatenates branches with different activations, then adds two of them."""
    network = GraphBuilder(seed)
    branches = []
    for kind in kinds:
        made = network.add_convolution(network.last_tensor, CHANNELS, CHANNELS)
        limits = [network.add_constant(np.float32(each)) for each in (0, 1)] if kind == "Clip" else []
        branches.append(made if kind == "plain" else network.add(kind, [made, *limits]))
    joined = network.add("Concat", branches, axis=1)
    total = network.add("Add", [network.add_convolution(joined, CHANNELS * len(kinds), CHANNELS), branches[0]])
    if end == "Clip":
        total = network.add("Clip", [total, *(network.add_constant(np.float32(each)) for each in (0, 1))])
    elif end:
        total = network.add(end, [total])
    steps, correlation = compare_backends(network, network.add_convolution(total, CHANNELS, CHANNELS))
    assert steps == 0
    assert correlation > 0.9


def test_final_concat_of_a_head_is_split_into_outputs():
    network = GraphBuilder(3)
    boxes = network.add_convolution(network.last_tensor, CHANNELS, 4)
    classes = network.add("Sigmoid", [network.add_convolution(network.last_tensor, CHANNELS, 5)])
    joined = network.add("Concat", [boxes, classes], axis=1)
    flat = network.add("Reshape", [joined, network.add_constant(np.array([1, 9, SIDE * SIDE]))])
    model = lowering.lower_graph(network.build_model(network.add("Transpose", [flat], perm=[0, 2, 1])))
    assert [each.name for each in model.graph.output] == [boxes, classes]


@FEW_EXAMPLES
@given(st.floats(0.005, 0.08), st.integers(0, 200), st.integers(201, 255))
def test_silu_rounding_tie_is_detected(step, zero, integer):
    """The scale of the product makes one of its 256 values a rounding tie."""
    entry = step, zero
    x = integer - zero
    product = x * min(round(256 / (1 + np.exp(-step * x))), 255) / 256 * step
    result = product / (round(product / step) + 0.5), 0
    assert not rounding_tie_checks.silu_has_no_ties(entry, result)
    assert any(
        rounding_tie_checks.silu_has_no_ties(entry, (result[0] * (1 + attempt / 1000), 0)) for attempt in range(200)
    )


def test_product_rounding_tie_is_detected():
    assert not rounding_tie_checks.product_has_no_ties((0.5, 0), (0.5, 0), (0.5, 0))  # 1 x 1 is half a step
    assert rounding_tie_checks.product_has_no_ties((0.5, 0), (0.5, 0), (0.25, 0))


def test_silu_range_leaves_out_saturated_negative_inputs():
    """Below -4 the product is less than a step of the large values, so the range leaves those inputs out."""
    network = GraphBuilder(0)
    values = np.random.default_rng(0).normal(0, 3, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)
    shifted = network.add("Add", [network.last_tensor, network.add_constant(8 * values)])
    made = network.add("Mul", [shifted, network.add("Sigmoid", [shifted])])
    plain = network.build_model(made)
    feeds = [{"image": network.rng.normal(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32)} for _ in range(3)]
    ranges = percentile_ranges.measure_percentile_ranges(plain, feeds)
    assert percentile_ranges.find_silu_inputs(plain.graph) == [shifted]
    assert ranges[shifted][1] > 40
    assert -percentile_ranges.SIGMOID_SATURATION < ranges[shifted][0] < -0.5
