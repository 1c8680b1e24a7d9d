"""The TFLite writer against ONNX Runtime, operator by operator, on random shapes and parameters.

Each example is a small QDQ graph with integer ends. Convolutions, layouts and reductions must give the same integers;
element-wise operators may differ by one step where the two libraries round a tie differently.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vedette.compress import tflite
from vedette.compress.tflite.operators import OPERATORS
from vedette.runtime.problem import Problem

EXAMPLES = settings(max_examples=40)
seeds = st.integers(0, 2**32 - 1)


class Graph:
    """Builds a QDQ graph: image u8 N x H x W x C, then whatever is added, to one u8 output."""

    def __init__(self, rng, channels, height, width):
        self.rng = rng
        self.nodes, self.constants = [], []
        self.nodes.append(helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]))
        self.image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, height, width, channels])
        self.parameters("image", 0.02, 128)
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

    def add(self, kind, inputs, spread=None, **attributes):
        """An operator whose output is quantised: over its true range times `spread`, or like the image."""
        self.nodes.append(helper.make_node(kind, inputs, ["result_real"], name=f"the {kind}", **attributes))
        scale, zero = 0.02, 128
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


def difference(graph):
    """The largest difference between ONNX Runtime and LiteRT on the graph, in integer steps."""
    model = onnx.shape_inference.infer_shapes(graph.model())
    picture = graph.picture()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # as the runtime's back end has it
    expected = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"image": picture})[0]
    interpreter = Interpreter(model_content=tflite.write(model), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], (picture ^ 0x80).view(np.int8))
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).view(np.uint8) ^ 0x80
    if got.ndim == 4:
        got = got.transpose(0, 3, 1, 2)
    assert got.shape == expected.shape
    return int(np.abs(got.astype(int) - expected.astype(int)).max())


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
    assert difference(graph) <= 1


@EXAMPLES
@given(seeds, st.sampled_from(["Add", "Mul"]), st.integers(1, 9), st.tuples(st.integers(2, 9), st.integers(2, 9)))
def test_element_wise_with_itself(seed, kind, channels, size):
    graph = Graph(np.random.default_rng(seed), channels, *size)
    graph.add(kind, [graph.real, graph.real], 0.9)
    assert difference(graph) <= 1


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


def test_every_operator_is_tried_above():
    assert set(OPERATORS) == {"Add", "Concat", "Conv", "Mul", "ReduceMax", "Resize", "Transpose"}


@pytest.mark.parametrize("kind", ["Sigmoid", "Softplus"])
def test_what_it_does_not_know_is_named(kind):
    graph = Graph(np.random.default_rng(0), 3, 8, 8)
    graph.add(kind, [graph.real])
    with pytest.raises(Problem, match=f"'the {kind}' is a {kind}"):
        tflite.write(onnx.shape_inference.infer_shapes(graph.model()))


def test_bilinear_resize_is_refused():
    graph = Graph(np.random.default_rng(0), 3, 8, 8)
    graph.constant("factors", np.array([1, 1, 2, 2], np.float32))
    graph.add("Resize", [graph.real, "", "factors"], mode="linear")
    with pytest.raises(Problem, match="Resize"):
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
