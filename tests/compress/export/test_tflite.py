"""The TFLite writer against ONNX Runtime, operator by operator, on random shapes and parameters.

Each example is a small QDQ graph with integer ends. Convolutions, layouts and reductions must give the same integers;
element-wise operators may differ by one step where the two libraries round a tie differently.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vedette.compress.export import tflite
from vedette.compress.export.tflite.operators import OPERATORS
from vedette.runtime.errors import Problem
from vedette.runtime.inference.backends.onnx import EXACT

EXAMPLES = settings(max_examples=40)
seeds = st.integers(0, 2**32 - 1)


class Graph:
    """Builds a QDQ graph: image u8 N x H x W x C, then whatever is added, to one u8 output."""

    def __init__(self, rng, channels, height, width, scale=0.02):
        self.rng = rng
        self.nodes, self.constants = [], []
        self.nodes.append(helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]))
        self.image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, height, width, channels])
        self.parameters("image", scale, 128)
        self.real = self.dequantise("turned", "image")

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def parameters(self, name, scale, zero):
        self.constant(f"{name}_scale", np.float32(scale))
        self.constant(f"{name}_zero", np.uint8(zero))

    def dequantise(self, integers, name):
        inputs = [integers, f"{name}_scale", f"{name}_zero"]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{integers}_real"]))
        return f"{integers}_real"

    def weights(self, name, shape):
        integers = self.rng.integers(-127, 128, shape, dtype=np.int8)
        scale = self.rng.uniform(0.002, 0.02, shape[0]).astype(np.float32)
        self.constant(name, integers)
        self.constant(f"{name}_scale", scale)
        self.constant(f"{name}_zero", np.zeros(shape[0], np.int8))
        inputs = [name, f"{name}_scale", f"{name}_zero"]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}_real"], axis=0))
        return f"{name}_real", scale

    def bias(self, scale):
        self.constant("bias", self.rng.integers(-3000, 3000, len(scale), dtype=np.int32))
        self.constant("bias_scale", (np.float32(0.02) * scale).astype(np.float32))
        self.constant("bias_zero", np.zeros(len(scale), np.int32))
        inputs = ["bias", "bias_scale", "bias_zero"]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, ["bias_real"], axis=0))
        return "bias_real"

    def u8(self, name, shape):
        self.constant(name, self.rng.integers(0, 256, shape, dtype=np.uint8))
        self.parameters(name, self.rng.uniform(0.005, 0.05), int(self.rng.integers(0, 256)))
        return self.dequantise(name, name)

    def add(self, kind, inputs, spread=None, scale=0.02, zero=128, **attributes):
        """An operator whose output is quantised: over its true range times `spread`, or as told, or like the image."""
        self.nodes.append(helper.make_node(kind, inputs, ["result_real"], name=f"the {kind}", **attributes))
        if spread is not None:
            values = self.run_float()
            low, high = min(values.min() * spread, 0.0), max(values.max() * spread, 1e-3)
            scale = (high - low) / 255
            zero = round(-low / scale)
        self.parameters("result", scale, zero)
        self.nodes.append(
            helper.make_node("QuantizeLinear", ["result_real", "result_scale", "result_zero"], ["result"])
        )

    def run_float(self):
        output = helper.make_tensor_value_info("result_real", TensorProto.FLOAT, None)
        session = onnxruntime.InferenceSession(self.model(output).SerializeToString())
        return session.run(None, {"image": self.picture()})[0]

    def picture(self):
        shape = [d.dim_value for d in self.image.type.tensor_type.shape.dim]
        return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)

    def model(self, output=None):
        output = output or helper.make_tensor_value_info("result", TensorProto.UINT8, None)
        graph = helper.make_graph(self.nodes, "g", [self.image], [output], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def copied(graph, name, kind, inputs, number=1, **attributes):
    """An operator that copies: its outputs, quantised like the image and made real again."""
    made = [f"{name}{place}" for place in range(number)]
    outputs = [f"{each}_made" for each in made]
    graph.nodes.append(helper.make_node(kind, inputs, outputs, name=f"the {kind} {name}", **attributes))
    for each, output in zip(made, outputs, strict=True):
        graph.nodes.append(helper.make_node("QuantizeLinear", [output, "image_scale", "image_zero"], [each]))
        graph.nodes.append(helper.make_node("DequantizeLinear", [each, "image_scale", "image_zero"], [f"{each}_real"]))
    return [f"{each}_real" for each in made]


def difference(graph):
    """The largest difference between ONNX Runtime and LiteRT on the graph, in integer steps."""
    model = onnx.shape_inference.infer_shapes(graph.model())
    picture = graph.picture()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT)
    expected = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"image": picture})[0]
    interpreter = Interpreter(model_content=tflite.write(model), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], (picture ^ 0x80).view(np.int8))
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).view(np.uint8) ^ 0x80
    return int(np.abs(got.reshape(expected.shape).astype(int) - expected.astype(int)).max())


def operators(content):
    """The kinds of a file's operators, in their order."""
    interpreter = Interpreter(model_content=content)
    return [each["op_name"] for each in interpreter._get_ops_details()]


@EXAMPLES
@given(
    seed=seeds,
    channels=st.integers(1, 9),
    outputs=st.integers(1, 9),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.sampled_from([1, 2]),
    size=st.tuples(st.integers(8, 17), st.integers(8, 17)),
    pads=st.sampled_from(["none", "same", "odd"]),
    bias=st.booleans(),
)
def test_convolution(seed, channels, outputs, kernel, stride, size, pads, bias):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    weights, scale = graph.weights("weight", (outputs, channels, kernel, kernel))
    inputs = [graph.real, weights] + ([graph.bias(scale)] if bias else [])
    graph.add("Conv", inputs, 0.8, strides=[stride] * 2, pads=padding(pads, size, kernel, stride))
    assert difference(graph) == 0


@EXAMPLES
@given(
    seed=seeds,
    channels=st.integers(2, 12),
    kernel=st.sampled_from([3, 5]),
    stride=st.sampled_from([1, 2]),
    size=st.tuples(st.integers(8, 17), st.integers(8, 17)),
    pads=st.sampled_from(["none", "same", "odd"]),
)
def test_depthwise_convolution(seed, channels, kernel, stride, size, pads):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    weights, scale = graph.weights("weight", (channels, 1, kernel, kernel))
    inputs = [graph.real, weights, graph.bias(scale)]
    graph.add("Conv", inputs, 0.8, group=channels, strides=[stride] * 2, pads=padding(pads, size, kernel, stride))
    assert difference(graph) == 0


def padding(kind, size, kernel, stride):
    """ONNX pads: none, what TensorFlow calls SAME, or something that it has no name for."""
    if kind == "none":
        return [0, 0, 0, 0]
    if kind == "odd":
        return [kernel // 2, 0, 0, kernel // 2]
    needed = [max((-(-extent // stride) - 1) * stride + kernel - extent, 0) for extent in size]
    return [each // 2 for each in needed] + [each - each // 2 for each in needed]


@EXAMPLES
@given(seeds, st.sampled_from(["Add", "Mul"]), st.integers(1, 9), st.tuples(st.integers(2, 9), st.integers(2, 9)))
def test_element_wise_with_a_constant(seed, kind, channels, size):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.add(kind, [graph.real, graph.u8("other", (1, channels, *size))], 0.9)
    assert difference(graph) <= int(kind == "Add")


@EXAMPLES
@given(seeds, st.sampled_from(["Add", "Mul"]), st.integers(1, 9), st.tuples(st.integers(2, 9), st.integers(2, 9)))
def test_element_wise_with_itself(seed, kind, channels, size):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.add(kind, [graph.real, graph.real], 0.9)
    assert difference(graph) <= int(kind == "Add")


@EXAMPLES
@given(seeds, st.integers(1, 9), st.tuples(st.integers(2, 9), st.integers(2, 9)), st.integers(1, 4), st.integers(1, 4))
def test_nearest_resize(seed, channels, size, up, across):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.constant("factors", np.array([1, 1, up, across], np.float32))
    how = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    graph.add("Resize", [graph.real, "", "factors"], **how)
    assert difference(graph) == 0


@EXAMPLES
@given(seeds, st.integers(1, 9), st.tuples(st.integers(2, 9), st.integers(2, 9)), st.booleans())
def test_reduce_max(seed, channels, size, keep):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.constant("axes", np.array([1, 2, 3], np.int64))
    graph.add("ReduceMax", [graph.real, "axes"], keepdims=int(keep))
    assert difference(graph) == 0


@EXAMPLES
@given(seeds, st.integers(1, 9), st.tuples(st.integers(2, 9), st.integers(2, 9)), st.sampled_from([1, 2, 3]))
def test_concatenation(seed, channels, size, axis):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.add("Concat", [graph.real, graph.real], axis=axis)
    assert difference(graph) == 0


def test_concatenation_of_other_scales_is_refused():
    """TFLite would copy the integers as they are, and so change what they mean."""
    graph = Graph(np.random.default_rng(0), 3, 4, 4)
    graph.add("Concat", [graph.real, graph.real], 3.0, axis=1)
    with pytest.raises(Problem, match="Concat"):
        tflite.write(onnx.shape_inference.infer_shapes(graph.model()))


sizes = st.tuples(st.integers(2, 9), st.integers(2, 9))


@EXAMPLES
@given(seeds, st.integers(1, 9), sizes, st.sampled_from(["itself", "constant", "channels"]))
def test_difference(seed, channels, size, other):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    shape = {"constant": (1, channels, *size), "channels": (channels, 1, 1)}
    graph.add("Sub", [graph.real, graph.u8("other", shape[other]) if other in shape else graph.real], 0.9)
    assert difference(graph) <= 1  # as for Add: where the scales differ, each rounds in its own way


@EXAMPLES
@given(seeds, st.integers(1, 9), sizes, st.sampled_from(["Add", "Sub"]), st.integers(1, 3))
def test_sums_of_one_scale_are_exact(seed, channels, size, kind, up):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.constant("moved_axes", np.array([0, 1, 3, 2], np.int64))
    (turned,) = copied(graph, "turned", "Transpose", [graph.real], perm=[0, 1, 3, 2])
    (back,) = copied(graph, "back", "Transpose", [turned], perm=[0, 1, 3, 2])
    graph.add(kind, [graph.real, back])
    assert difference(graph) == 0


@EXAMPLES
@given(seeds, st.integers(1, 9), sizes, st.floats(0.002, 0.1))
def test_sigmoid_and_tanh(seed, channels, size, scale):
    """Each library has a table of 256 entries; a value nearly half way between two steps may go either way."""
    for kind, step, zero in (("Sigmoid", 1 / 256, 0), ("Tanh", 1 / 128, 128)):
        graph = Graph(np.random.default_rng(seed), channels, *size, scale)
        graph.add(kind, [graph.real], scale=step, zero=zero)
        assert difference(graph) <= 1


@EXAMPLES
@given(seeds, st.integers(1, 9), sizes, st.floats(0.01, 0.5), st.floats(0.8, 1.5))
def test_leaky_relu(seed, channels, size, alpha, ratio):
    """XNNPACK keeps eight bits of the fraction of each slope: up to half a step, over 255 steps, before it rounds."""
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.add("LeakyRelu", [graph.real], alpha=alpha, scale=0.02 * ratio)
    assert difference(graph) <= 1


@EXAMPLES
@given(seeds, st.integers(1, 9), sizes)
def test_relu(seed, channels, size):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.add("Relu", [graph.real])
    assert difference(graph) == 0


@EXAMPLES
@given(seeds, st.integers(2, 30), sizes, st.sampled_from([1, 2, 3]))
def test_softmax(seed, channels, size, axis):
    """LiteRT sums in fixed point, ONNX Runtime as float."""
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.add("Softmax", [graph.real], axis=axis, scale=1 / 256, zero=0)
    assert difference(graph) <= 1


@EXAMPLES
@given(
    seed=seeds,
    channels=st.integers(1, 9),
    size=st.tuples(st.integers(6, 13), st.integers(6, 13)),
    kernel=st.sampled_from([2, 3, 5]),
    stride=st.sampled_from([1, 2]),
    pads=st.sampled_from(["none", "same", "odd"]),
    ceil=st.booleans(),
)
def test_max_pool(seed, channels, size, kernel, stride, pads, ceil):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    where = padding(pads, size, kernel, stride)
    ceil = int(ceil and pads == "none" and kernel >= stride)
    graph.add("MaxPool", [graph.real], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=where, ceil_mode=ceil)
    assert difference(graph) == 0


@EXAMPLES
@given(
    seed=seeds,
    channels=st.integers(1, 9),
    size=st.tuples(st.integers(6, 13), st.integers(6, 13)),
    kernel=st.sampled_from([2, 3, 5]),
    stride=st.sampled_from([1, 2]),
    everything=st.booleans(),
)
def test_average_pool(seed, channels, size, kernel, stride, everything):
    """With an even number of pixels a mean may lie half way between two steps, and each rounds in its own way."""
    graph = Graph(np.random.default_rng(seed), channels, *size)
    if everything:
        graph.add("GlobalAveragePool", [graph.real])
    else:
        graph.add("AveragePool", [graph.real], kernel_shape=[kernel] * 2, strides=[stride] * 2)
    even = (not everything and kernel == 2) or (everything and size[0] * size[1] % 2 == 0)
    assert difference(graph) <= int(even)


@EXAMPLES
@given(seeds, st.integers(1, 9), sizes, st.sampled_from(["half_pixel", "pytorch_half_pixel"]), st.sampled_from([2, 3]))
def test_bilinear_resize(seed, channels, size, how, factor):
    """XNNPACK has eleven bits for the share of each pixel; ONNX Runtime computes as float, between two roundings."""
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.constant("factors", np.array([1, 1, factor, factor], np.float32))
    graph.add("Resize", [graph.real, "", "factors"], mode="linear", coordinate_transformation_mode=how)
    assert difference(graph) <= 1


@EXAMPLES
@given(
    seeds,
    st.integers(1, 9),
    sizes,
    st.sampled_from(["constant", "reflect", "edge"]),
    st.tuples(*[st.integers(0, 1)] * 4),
)
def test_pad(seed, channels, size, mode, amounts):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    top, left, bottom, right = amounts
    graph.constant("pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    graph.add("Pad", [graph.real, "pads"], mode=mode)
    assert difference(graph) == 0


@EXAMPLES
@given(seeds, st.integers(1, 9), sizes, st.integers(1, 9), st.booleans(), st.booleans())
def test_matrix_product(seed, channels, size, outputs, turned, bias):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    width = channels * size[0] * size[1]
    (flat,) = copied(graph, "flat", "Flatten", [graph.real])
    weights, scale = graph.weights("weight", (outputs, width))
    if not turned:  # K x N, and so a scale for each column
        values = next(each for each in graph.constants if each.name == "weight")
        values.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(values).T.copy(), "weight"))
        graph.nodes[-1].attribute[0].i = 1
    inputs = [flat, weights] + ([graph.bias(scale)] if bias else [])
    graph.add(
        "Gemm" if turned or bias else "MatMul", inputs, 0.9, **({"transB": int(turned)} if turned or bias else {})
    )
    assert difference(graph) == 0


@EXAMPLES
@given(seeds, st.sampled_from([2, 4, 6, 8, 12]), sizes, st.sampled_from([1, 2]), st.booleans())
def test_channel_shuffle(seed, channels, size, groups, divided):
    """Reshape, Transpose and Reshape mix the channels of two groups; then they are joined, divided or gathered."""
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.constant("apart", np.array([1, groups, channels // groups, *size], np.int64))
    graph.constant("whole", np.array([1, channels, *size], np.int64))
    (apart,) = copied(graph, "apart_", "Reshape", [graph.real, "apart"])
    (mixed,) = copied(graph, "mixed", "Transpose", [apart], perm=[0, 2, 1, 3, 4])
    if divided:
        (whole,) = copied(graph, "whole_", "Reshape", [mixed, "whole"])
        first, second = copied(graph, "half", "Split", [whole], 2, axis=1, num_outputs=2)
        graph.add("Concat", [second, first], axis=1)
    else:
        graph.add("Reshape", [mixed, "whole"])
    assert difference(graph) == 0


@EXAMPLES
@given(seeds, st.integers(2, 6), sizes, st.integers(2, 4), st.booleans())
def test_channels_are_dealt_once_and_never_picked_one_by_one(seed, each, size, hands, divided):
    """Every so many-th channel, by indices or as one of a divided axis; and both hands by one transposition."""
    graph = Graph(np.random.default_rng(seed), each * hands, *size)
    source, axis = graph.real, 1
    if divided:
        graph.constant("apart", np.array([1, each, hands, *size], np.int64))
        (source,) = copied(graph, "apart_", "Reshape", [graph.real, "apart"])
        axis = 2
    wanted = [np.int64(hand) if divided else np.arange(hand, each * hands, hands) for hand in (1, 0)]
    for place, indices in enumerate(wanted):
        graph.constant(f"which{place}", indices)
    taken = [copied(graph, f"hand{n}_", "Gather", [source, f"which{n}"], axis=axis)[0] for n in (0, 1)]
    graph.add("Concat", taken, axis=1)
    assert difference(graph) == 0
    kinds = operators(tflite.write(onnx.shape_inference.infer_shapes(graph.model())))
    assert kinds.count("TRANSPOSE") == 2  # and the output's, which ONNX wants as it had it
    assert "STRIDED_SLICE" not in kinds


@EXAMPLES
@given(seeds, st.integers(1, 9), sizes, st.integers(2, 3))
def test_space_to_depth(seed, channels, size, block):
    graph = Graph(np.random.default_rng(seed), channels, size[0] * block, size[1] * block)
    graph.add("SpaceToDepth", [graph.real], blocksize=block)
    assert difference(graph) == 0


@EXAMPLES
@given(seed=seeds, channels=st.integers(2, 9), size=sizes, data=st.data())
def test_movements(seed, channels, size, data):
    """Any chain of three of them: the bytes arrive where ONNX has them."""
    graph = Graph(np.random.default_rng(seed), channels, *size)
    real, shape = graph.real, [1, channels, *size]
    for step in range(3):
        kind = data.draw(st.sampled_from(["Transpose", "Reshape", "Slice", "Gather", "Index", "Unsqueeze", "Squeeze"]))
        inputs, attributes = [real], {}
        if kind == "Transpose":
            attributes["perm"] = data.draw(st.permutations(range(len(shape))))
            shape = [shape[axis] for axis in attributes["perm"]]
        elif kind == "Reshape":
            count = int(np.prod(shape))
            first = data.draw(st.sampled_from([each for each in range(1, count + 1) if count % each == 0]))
            shape = data.draw(st.sampled_from([[1, first, count // first], [first, 1, 1, count // first]]))
            inputs.append(graph.constant(f"shape{step}", np.array(shape, np.int64)))
        elif kind == "Slice":
            axis = data.draw(st.integers(0, len(shape) - 1))
            start, pace = data.draw(st.integers(0, shape[axis] - 1)), data.draw(st.integers(1, 3))
            for name, value in (("from", start), ("to", 1000), ("axis", axis), ("pace", pace)):
                inputs.append(graph.constant(f"{name}{step}", np.array([value], np.int64)))
            shape[axis] = len(range(start, shape[axis], pace))
        elif kind in ("Gather", "Index"):
            axis = data.draw(st.integers(0, len(shape) - 1))
            one = st.integers(0, shape[axis] - 1)
            which = data.draw(one if kind == "Index" and len(shape) > 2 else st.lists(one, min_size=1, max_size=4))
            inputs.append(graph.constant(f"which{step}", np.array(which, np.int64)))
            attributes["axis"] = axis
            shape[axis : axis + 1] = [len(which)] if isinstance(which, list) else []
            kind = "Gather"
        else:
            ones = [axis for axis, extent in enumerate(shape) if extent == 1]
            if (kind == "Squeeze" and (not ones or len(shape) < 3)) or (kind == "Unsqueeze" and len(shape) > 4):
                continue
            axis = data.draw(st.sampled_from(ones)) if kind == "Squeeze" else data.draw(st.integers(0, len(shape)))
            shape[axis : axis + int(kind == "Squeeze")] = [] if kind == "Squeeze" else [1]
            inputs.append(graph.constant(f"axes{step}", np.array([axis], np.int64)))
        (real,) = copied(graph, f"step{step}", kind, inputs, **attributes)
    graph.add("Relu", [real])
    assert difference(graph) == 0


def test_every_operator_is_tried_above():
    source = Path(__file__).read_text()
    assert all(f'"{kind}"' in source for kind in OPERATORS)


@pytest.mark.parametrize("kind", ["Erf", "Softplus"])
def test_what_it_does_not_know_is_named(kind):
    graph = Graph(np.random.default_rng(0), 3, 8, 8)
    graph.add(kind, [graph.real])
    with pytest.raises(Problem, match=f"'the {kind}' is a {kind}"):
        tflite.write(onnx.shape_inference.infer_shapes(graph.model()))


def test_a_sigmoid_of_another_scale_is_refused():
    graph = Graph(np.random.default_rng(0), 3, 8, 8)
    graph.add("Sigmoid", [graph.real])
    with pytest.raises(Problem, match=r"'the Sigmoid' is a Sigmoid.*scale"):
        tflite.write(onnx.shape_inference.infer_shapes(graph.model()))


def test_constants_are_aligned(bundle):
    """The schema asks for 16 bytes; an unaligned read of 32-bit biases is a fault on some Arm cores."""
    from ai_edge_litert import schema_py_generated as schema

    content = bundle.model("tflite")
    model = schema.Model.GetRootAs(content)
    assert content[4:8] == b"TFL3"
    starts = []
    for index in range(model.BuffersLength()):
        data = model.Buffers(index).DataAsNumpy()
        if isinstance(data, np.ndarray) and data.size:
            starts.append(data.ctypes.data - np.frombuffer(content, np.uint8).ctypes.data)
    assert len(starts) > 20
    assert all(start % 16 == 0 for start in starts)
