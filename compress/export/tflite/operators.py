"""Table of the functions that write each ONNX operator as TFLite operators, and the conversion of a whole graph.

Each function takes the writer and the node and adds the TFLite operators. They must compute the same integers as ONNX
Runtime; the tests check that for every function on random shapes and parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx

from ...graph.qdq import QuantizedNode, read_qdq_graph
from ...quantization.scales.shared_scales import COPYING_OPERATORS
from . import convolutions, data_movement, elementwise, padding, pooling_and_resize
from .operands import raise_unsupported, require_tensor
from .writer import SubgraphWriter

OPERATORS: dict[str, Callable[[SubgraphWriter, QuantizedNode], None]] = {
    "Add": elementwise.write_add,
    "AveragePool": pooling_and_resize.write_average_pool,
    "Concat": data_movement.write_concat,
    "Conv": convolutions.write_convolution,
    "Flatten": data_movement.write_reshape,
    "Gather": data_movement.write_gather,
    "Gemm": convolutions.write_matmul_as_convolution,
    "GlobalAveragePool": pooling_and_resize.write_global_pool_as_average_pool,
    "LeakyRelu": elementwise.write_leaky_relu,
    "MatMul": convolutions.write_matmul_as_convolution,
    "MaxPool": pooling_and_resize.write_max_pool,
    "Mul": elementwise.write_mul,
    "Pad": padding.write_pad,
    "ReduceMax": pooling_and_resize.write_reduce_max,
    "Relu": elementwise.write_relu,
    "Reshape": data_movement.write_reshape,
    "Resize": pooling_and_resize.write_resize,
    "Sigmoid": elementwise.write_sigmoid,
    "Slice": data_movement.write_slice,
    "SpaceToDepth": data_movement.write_space_to_depth,
    "Softmax": elementwise.write_softmax,
    "Split": data_movement.write_split,
    "Squeeze": data_movement.write_reshape,
    "Sub": elementwise.write_sub,
    "Tanh": elementwise.write_tanh,
    "Transpose": data_movement.write_transpose_as_view,
    "Unsqueeze": data_movement.write_reshape,
}

_COPYING_OPERATORS = COPYING_OPERATORS | {"ReduceMax"}
"""Their kernels copy integers, and ignore a second scale."""
_SCALE_ROUNDING = 1e-5  # relative: two ways to compute one scale in single precision; no integer moves by it
_FOLDED_OPERATORS = ("Clip",)
"""Quantization folds these operators into the range of their input."""
_REASON = "it has no integer equivalent here"


def write_tflite(model: onnx.ModelProto) -> bytes:
    """TFLite file that computes the same integers as a QDQ model.

    Args:
        model: QDQ graph with integer inputs (N x H x W x C) and integer outputs

    Raises:
        UnsupportedOperator: an operator has no integer equivalent in TFLite; the message names the node
    """
    graph = read_qdq_graph(model)
    read = [tensor for node in graph.nodes for tensor in node.inputs if tensor is not None]
    writer = SubgraphWriter(Counter(tensor.name for tensor in (*read, *graph.outputs)))
    for tensor in graph.inputs:  # the input is N x H x W x C in ONNX already
        writer.add_activation(tensor, tuple(range(len(tensor.shape))))
    for node in graph.nodes:
        if node.op_type not in OPERATORS:
            raise_unsupported(node, _REASON)
        if node.op_type in _COPYING_OPERATORS:
            _check_one_scale(node)
        OPERATORS[node.op_type](writer, node)
    return writer.serialize(graph)


def _check_one_scale(node: QuantizedNode) -> None:
    """Check that an operator whose kernels copy integers has one scale and zero point for its input and its outputs.

    The kernels ignore a second scale: the file would load, and compute something else.

    Raises:
        UnsupportedOperator: there is more than one; the message names the node
    """
    source = require_tensor(node.inputs[0])
    for result in node.outputs:
        same_scale = np.allclose(source.scale, result.scale, rtol=_SCALE_ROUNDING, atol=0)
        if not same_scale or not np.array_equal(source.zero_point, result.zero_point):
            raise_unsupported(node, "it copies integers, and its output has another scale than its input")


def check_operators(model: onnx.ModelProto) -> None:
    """Check that every operator of a float graph can be written, before any long work on the graph.

    Raises:
        UnsupportedOperator: an operator is unknown; the message names the node
    """
    for node in model.graph.node:
        if node.op_type not in OPERATORS and node.op_type not in _FOLDED_OPERATORS:
            raise_unsupported(QuantizedNode(node.op_type, node.name or node.output[0], (), (), {}), _REASON)
