"""Writes element-wise operators: sums, products, activation functions and softmax.

If both summands and the sum have one scale, the addition is exact. Otherwise, and in the functions, LiteRT and ONNX
Runtime may round a tie or a near tie to different sides, a difference of one step. Quantization chooses the scales so
that this does not happen (quantization/scales/rounding_tie_checks.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...graph.qdq import QuantizedNode, QuantizedTensor
from .operands import add_operand, raise_unsupported, require_tensor
from .writer import SubgraphWriter


def write_add(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Add as ADD."""
    _write_binary(writer, node, "ADD", schema.AddOptionsT())


def write_sub(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Sub as SUB."""
    _write_binary(writer, node, "SUB", schema.SubOptionsT())


def write_mul(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Mul as MUL."""
    _write_binary(writer, node, "MUL", schema.MulOptionsT())


def write_sigmoid(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Sigmoid as LOGISTIC."""
    _check_output_parameters(node, 1 / 256, 0)
    _write_unary(writer, node, "LOGISTIC")


def write_tanh(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Tanh as TANH."""
    _check_output_parameters(node, 1 / 128, 128)
    _write_unary(writer, node, "TANH")


def write_leaky_relu(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """LeakyRelu as LEAKY_RELU."""
    options = schema.LeakyReluOptionsT()
    options.alpha = float(node.attributes.get("alpha", 0.01))
    if options.alpha == 0:
        write_relu(writer, node)
        return
    _write_unary(writer, node, "LEAKY_RELU", options)


def write_relu(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Relu as a part of the operator before it, or as RELU, which computes number by number."""
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    same_steps = image.scale == result.scale and image.zero_point == result.zero_point
    if same_steps and writer.fuse_relu(image):
        writer.alias_tensor(result, image, writer.current_order(image))
    else:
        _write_unary(writer, node, "RELU")


def write_softmax(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Softmax as SOFTMAX, which works on the last axis: the others are moved before it."""
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    _check_output_parameters(node, 1 / 256, 0)
    rank = len(image.shape)
    axis = node.attributes.get("axis", -1) % rank
    order = writer.current_order(image)
    if order[-1] != axis:
        order = (*(other for other in order if other != axis), axis)
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    writer.add_operator(
        "SOFTMAX", [writer.add_activation(image, order)], [writer.add_activation(result, order)], options
    )


def _write_binary(writer: SubgraphWriter, node: QuantizedNode, code: str, options: Any) -> None:
    """An operator with two operands, of which one may be a constant."""
    result = node.outputs[0]
    tensors = [require_tensor(tensor) for tensor in node.inputs]
    reference = next((t for t in tensors if t.data is None and t.shape == result.shape), result)
    order = writer.current_order(reference)
    inputs = [add_operand(writer, node, tensor, order) for tensor in tensors]
    writer.add_operator(code, inputs, [writer.add_activation(result, order)], options)


def _write_unary(writer: SubgraphWriter, node: QuantizedNode, code: str, options: Any = None) -> None:
    """An operator with one operand, in the order in which it is stored."""
    image = require_tensor(node.inputs[0])
    order = writer.current_order(image)
    writer.add_operator(
        code, [writer.add_activation(image, order)], [writer.add_activation(node.outputs[0], order)], options
    )


def _check_output_parameters(node: QuantizedNode, scale: float, zero_point: int) -> None:
    """Check the quantization parameters of the output: TFLite supports these functions with one scale only."""
    result: QuantizedTensor = node.outputs[0]
    if not np.allclose(result.scale, scale, rtol=1e-6) or int(result.zero_point[0]) != zero_point:
        raise_unsupported(node, f"its output must have scale {scale} and zero point {zero_point}")
