"""Element by element: sums, products, and functions of one number.

Where both summands and the sum have one scale, adding is adding integers; elsewhere, and in the functions, LiteRT and
ONNX Runtime may round a tie, or what is nearly one, to either side: one step. The ranges are chosen so that they do not
(techniques/foreign.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...graph.qdq import Node, Tensor
from .operands import given, operand, refuse
from .writer import Writer


def add(writer: Writer, node: Node) -> None:
    _binary(writer, node, "ADD", schema.AddOptionsT())


def subtract(writer: Writer, node: Node) -> None:
    _binary(writer, node, "SUB", schema.SubOptionsT())


def multiply(writer: Writer, node: Node) -> None:
    _binary(writer, node, "MUL", schema.MulOptionsT())


def sigmoid(writer: Writer, node: Node) -> None:
    _fixed(writer, node, 1 / 256, 0)
    _unary(writer, node, "LOGISTIC")


def tanh(writer: Writer, node: Node) -> None:
    _fixed(writer, node, 1 / 128, 128)
    _unary(writer, node, "TANH")


def leaky(writer: Writer, node: Node) -> None:
    options = schema.LeakyReluOptionsT()
    options.alpha = float(node.attributes.get("alpha", 0.01))
    if options.alpha == 0:
        rectify(writer, node)
        return
    _unary(writer, node, "LEAKY_RELU", options)


def rectify(writer: Writer, node: Node) -> None:
    _unary(writer, node, "RELU")


def softmax(writer: Writer, node: Node) -> None:
    """Over the axis that lies last, so the others are moved before it."""
    image, result = given(node.inputs[0]), node.outputs[0]
    _fixed(writer, node, 1 / 256, 0)
    rank = len(image.shape)
    axis = node.attributes.get("axis", -1) % rank
    order = writer.order(image)
    if order[-1] != axis:
        order = (*(each for each in order if each != axis), axis)
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    writer.operator("SOFTMAX", [writer.activation(image, order)], [writer.activation(result, order)], options)


def _binary(writer: Writer, node: Node, code: str, options: Any) -> None:
    result = node.outputs[0]
    tensors = [given(each) for each in node.inputs]
    first = next((each for each in tensors if each.data is None and each.shape == result.shape), result)
    order = writer.order(first)
    inputs = [operand(writer, node, each, order) for each in tensors]
    writer.operator(code, inputs, [writer.activation(result, order)], options)


def _unary(writer: Writer, node: Node, code: str, options: Any = None) -> None:
    image = given(node.inputs[0])
    order = writer.order(image)
    writer.operator(code, [writer.activation(image, order)], [writer.activation(node.outputs[0], order)], options)


def _fixed(_: Writer, node: Node, scale: float, zero_point: int) -> None:
    """TFLite knows these functions with one scale only."""
    result: Tensor = node.outputs[0]
    if not np.allclose(result.scale, scale, rtol=1e-6) or int(result.zero_point[0]) != zero_point:
        refuse(node, f"its result must have scale {scale} and zero point {zero_point}")
