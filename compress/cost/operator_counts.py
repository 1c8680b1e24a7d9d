"""Operator counts of an ONNX graph, and the cost on a device that follows from them.

A float graph and its quantized version have the same operators in another precision, so the cost of an int8 model is
known before it is quantized and a search need not quantize to compare costs. In a quantized graph (QDQ), an operator
computes in int8 if its inputs come from DequantizeLinear and its outputs go to QuantizeLinear: the back ends fuse the
three. All other operators compute in float, and each conversion between float and int8 counts as an operator. Layout
transforms and padding that the graph does not show are counted by layout_transforms.py.

Imprecise: the back ends and their versions fuse different operators. Here a Clip or Relu after a convolution or an
addition costs nothing, and every other operator has the cost of its class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

import msgspec
import onnx
from onnx import TensorProto

from vedette.devices import DeviceProfile
from vedette.devices.cost_model import CostPrediction, OperatorClass, OperatorCount, Precision

from ..graph.editing import map_consumers, map_producers, read_attributes, read_shape
from . import layout_transforms
from .operator_classes import classify_depthwise, classify_ungrouped_convolution, classify_weightless

_MATRIX_PRODUCTS = ("Conv", "Gemm", "MatMul")
_FUSED_ACTIVATIONS = ("Clip", "Relu")
_CONSTANTS = ("Constant", "Shape")
_FREE = (*layout_transforms.RESHAPING_OPERATORS, *_CONSTANTS, "Identity", "Dropout")
_QUANTIZATION_OPERATORS = ("QuantizeLinear", "DequantizeLinear")


def predict_cost(
    profile: DeviceProfile, graph: onnx.ModelProto, backend: str, precision: Precision | None = None
) -> CostPrediction | None:
    """The cost of one inference of `graph` on a device, on one thread.

    Args:
        profile: the device
        graph: a float model, or an int8 model as QDQ, with a fixed input size
        backend: `onnx` or `tflite`
        precision: precision that a float graph will be converted to; None to read it from the graph

    Returns:
        The prediction; None if the profile has no cost model for the back end or for an operator class.
    """
    return profile.predict_cost(backend, count_operators(graph, backend, precision))


def count_operators(
    graph: onnx.ModelProto, backend: str = "onnx", precision: Precision | None = None
) -> list[OperatorCount]:
    """The operators of a graph with their counts, in the order of the graph.

    Args:
        graph: a float model, or an int8 model as QDQ, with a fixed input size
        backend: `onnx` or `tflite`
        precision: precision that a float graph will be converted to; None to read it from the graph
    """
    operators = list(_GraphCounter(graph, backend, precision).count())
    if precision is None:
        return operators
    operators = [msgspec.structs.replace(operator, precision=precision) for operator in operators]
    return adapt_to_backend(operators, backend) if precision == "int8" else operators


def adapt_to_backend(operators: Iterable[OperatorCount], backend: str) -> list[OperatorCount]:
    """The int8 operators as a back end runs them: ONNX Runtime reduces in float, between two conversions.

    Do not call it on the operators of a quantized graph, where the conversions are counted already.
    """
    adapted: list[OperatorCount] = []
    for operator in operators:
        if backend == "onnx" and operator.operator_class == "reduce":
            channels, elements = operator.output_channels, operator.output_elements
            reduced = operator.reads // elements  # input elements of each output element
            quantize = OperatorCount("change", "int8", operator.positions, channels, reads=elements)
            dequantize = msgspec.structs.replace(quantize, output_channels=reduced * channels, reads=operator.reads)
            adapted += [dequantize, msgspec.structs.replace(operator, precision="float32"), quantize]
        else:
            adapted.append(operator)
    return adapted


def count_macs(graph: onnx.ModelProto) -> int:
    """Multiply-accumulates of one image."""
    return sum(operator.macs for operator in count_operators(graph))


class _GraphCounter:
    """Counts the operators of one graph.

    Args:
        model: a float model, or an int8 model as QDQ
        backend: `onnx` or `tflite`
        precision: precision that a float graph will be converted to; None to read it from the graph
    """

    def __init__(self, model: onnx.ModelProto, backend: str, precision: Precision | None = None) -> None:
        graph = onnx.shape_inference.infer_shapes(model).graph
        self.backend = backend
        quantized = any(node.op_type in _QUANTIZATION_OPERATORS for node in graph.node)
        self.all_integer = backend == "tflite" and quantized
        self.shapes = {value.name: tuple(value.dims) for value in graph.initializer}
        integer_types = (TensorProto.INT8, TensorProto.UINT8)
        self.integer_tensors = {value.name for value in graph.initializer if value.data_type in integer_types}
        for value in (*graph.input, *graph.output, *graph.value_info):
            self.shapes[value.name] = read_shape(value)
        self.graph_inputs = {value.name for value in graph.input}
        self.integer_tensors |= {v.name for v in graph.input if v.type.tensor_type.elem_type == TensorProto.UINT8}
        self.constants = {value.name for value in graph.initializer}
        for node in graph.node:  # the back end converts constants once, when it loads the model
            if node.op_type in (*_QUANTIZATION_OPERATORS, "Constant") and set(node.input) <= self.constants:
                self.constants |= set(node.output)
        self.nodes = graph.node
        channels_last = backend == "tflite" or quantized or precision == "int8"
        self.layouts = layout_transforms.LayoutTracker(self.shapes, backend, channels_last)
        for name in self.graph_inputs:
            self.layouts.add_graph_input(name)
        self.graph_outputs = [value.name for value in graph.output]
        self.producers, self.consumers = map_producers(graph), map_consumers(graph)

    def count(self) -> Iterator[OperatorCount]:
        """Each operator after the transposes of its inputs, in the order of the graph."""
        # ONNX Runtime transposes no float tensors.
        precision: Precision = "int8" if self.all_integer or self.backend == "onnx" else "float32"
        for node in self.nodes:
            inputs = self._activation_inputs(node)
            if inputs and node.op_type not in _CONSTANTS:
                for transpose in self.layouts.count_input_transposes(node, inputs):
                    yield msgspec.structs.replace(transpose, precision=precision)
                yield from self._count_node(node, inputs)
        for name in self.graph_outputs:
            for transpose in self.layouts.count_output_transposes(name):
                yield msgspec.structs.replace(transpose, precision=precision)

    def _count_node(self, node: onnx.NodeProto, inputs: list[str]) -> Iterator[OperatorCount]:
        operator = self._count_kernel(node, inputs)
        if operator is None:
            return
        if self.backend == "tflite" and node.op_type == "MaxPool":
            source, result = (self.shapes[name] for name in (node.input[0], node.output[0]))
            yield from layout_transforms.count_pool_padding(node, source, result, operator.precision)
        if node.op_type in layout_transforms.SLICING_OPERATORS:
            yield from self.layouts.count_slices(node, operator.precision)
        else:
            yield operator

    def _count_kernel(self, node: onnx.NodeProto, inputs: list[str]) -> OperatorCount | None:
        """The kernel of a node; None if the node costs nothing."""
        if node.op_type in _FREE or self._is_fused_activation(node):
            return None
        if node.op_type in _QUANTIZATION_OPERATORS:
            if self.all_integer or self._is_fused_conversion(node):
                return None
            return self._count_weightless("change", "int8", node, inputs)
        precision: Precision = "int8" if self.all_integer or self._computes_in_integers(node, inputs) else "float32"
        if node.op_type in _MATRIX_PRODUCTS:
            return self._count_matrix_product(node, precision)
        if node.op_type == "Transpose":
            return self._count_transpose(node, precision)
        operator = self._count_weightless(classify_weightless(node, inputs), precision, node, inputs)
        if operator.operator_class == "pool":
            source, result = (self.shapes[name] for name in (node.input[0], node.output[0]))
            reads = layout_transforms.count_pool_reads(node, source, result, self.backend == "onnx")
            operator = msgspec.structs.replace(operator, reads=reads)
        return operator

    def _count_transpose(self, node: onnx.NodeProto, precision: Precision) -> OperatorCount | None:
        if self.backend == "tflite" or node.input[0] in self.graph_inputs:
            return None  # it only renames axes; LayoutTracker counts a transpose if a later kernel needs one
        source = self.shapes[node.input[0]]
        axes = tuple(range(len(source)))
        permutation = tuple(read_attributes(node).get("perm", axes[::-1]))
        return layout_transforms.count_transpose(source, axes, permutation, precision)

    def _count_weightless(
        self, operator_class: OperatorClass, precision: Precision, node: onnx.NodeProto, inputs: list[str]
    ) -> OperatorCount:
        channels, positions = _channels_and_positions(self.shapes[node.output[0]])
        reads = sum(prod(self.shapes[name]) for name in inputs)
        return OperatorCount(operator_class, precision, positions, channels, reads=reads)

    def _count_matrix_product(self, node: onnx.NodeProto, precision: Precision) -> OperatorCount:
        source, shape = (self.shapes[name] for name in (node.input[0], node.output[0]))
        if node.op_type != "Conv":
            outputs, inputs = shape[-1], source[-1]
            return OperatorCount("pointwise", precision, prod(shape[:-1]), outputs, inputs, 1, prod(source))
        weight = self.shapes[node.input[1]]
        outputs, positions = _channels_and_positions(shape)
        inputs, taps = weight[1], prod(weight[2:])
        if inputs == 1 and read_attributes(node).get("group", 1) > 1:
            strides = read_attributes(node).get("strides", [1])
            depthwise = classify_depthwise(outputs, taps, max(strides))
            return OperatorCount(depthwise, precision, positions, outputs, 1, taps, prod(source))
        operator_class = classify_ungrouped_convolution(source[1], taps)
        return OperatorCount(operator_class, precision, positions, outputs, inputs, taps, positions * taps * inputs)

    def _computes_in_integers(self, node: onnx.NodeProto, inputs: list[str]) -> bool:
        """Whether the inputs of a node are int8 or dequantized, and its output is int8 or quantized next."""
        given = all(name in self.integer_tensors or self._is_output_of(name, "DequantizeLinear") for name in inputs)
        if given and any(name in self.integer_tensors for name in inputs):
            self.integer_tensors |= set(node.output)  # int8 in, int8 out
            return True
        if self.backend == "onnx" and node.op_type.startswith("Reduce"):
            return False  # ONNX Runtime reduces int8 tensors, but does not fuse a reduction with its conversions
        consumers = self.consumers.get(node.output[0], [])
        return given and all(consumer.op_type in ("QuantizeLinear", *_FUSED_ACTIVATIONS) for consumer in consumers)

    def _is_output_of(self, name: str, op_type: str) -> bool:
        return name in self.producers and self.producers[name].op_type == op_type

    def _is_fused_conversion(self, node: onnx.NodeProto) -> bool:
        """Whether a QuantizeLinear or DequantizeLinear is fused with the operators beside it."""
        if node.op_type == "QuantizeLinear":
            self.integer_tensors |= set(node.output)
            producer = self.producers.get(node.input[0])
            return producer is not None and self._computes_in_integers(producer, self._activation_inputs(producer))
        consumers = self.consumers.get(node.output[0], [])
        return bool(consumers) and all(
            self._computes_in_integers(consumer, self._activation_inputs(consumer)) for consumer in consumers
        )

    def _activation_inputs(self, node: onnx.NodeProto) -> list[str]:
        return [name for name in node.input if name and name not in self.constants]

    def _is_fused_activation(self, node: onnx.NodeProto) -> bool:
        """Whether an activation is computed by the operator before it."""
        name = node.input[0]
        producer = self.producers.get(name)
        only_reader = len(self.consumers[name]) == 1
        if self.all_integer and classify_weightless(node, [name]) == "rectify":
            while producer is not None and producer.op_type in _QUANTIZATION_OPERATORS:
                name = producer.input[0]
                producer, only_reader = self.producers.get(name), only_reader and len(self.consumers[name]) == 1
        elif node.op_type not in _FUSED_ACTIVATIONS:
            return False
        return only_reader and producer is not None and producer.op_type in ("Conv", "Add", "Gemm")


def _channels_and_positions(shape: tuple[int, ...]) -> tuple[int, int]:
    """Channels and spatial positions of a shape N x C x …, with N = 1."""
    return (shape[1], prod(shape[2:])) if len(shape) > 2 else (prod(shape), 1)
