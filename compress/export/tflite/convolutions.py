"""Sums of products: convolutions, and matrix products said as convolutions of one pixel.

TFLite has FULLY_CONNECTED, but its older kernels know only one scale for all weights; a convolution has one per channel
everywhere, and the same integer sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...graph.qdq import Node, Tensor
from .operands import data, given, refuse
from .pooling_and_resize import padded
from .writer import Writer


def convolution(writer: Writer, node: Node) -> None:
    image, weight = given(node.inputs[0]), given(node.inputs[1])
    outputs, depth, height, width = weight.shape
    group = node.attributes.get("group", 1)
    depthwise = depth == 1 and group == image.shape[1] and image.shape[1] > 1
    if not depthwise and group != 1:
        refuse(node, f"its channels are in {group} groups, neither one nor one each")

    stride = tuple(node.attributes.get("strides", (1, 1)))
    dilation = tuple(node.attributes.get("dilations", (1, 1)))
    source, padding = padded(writer, node, image, (height, width), stride, dilation)
    values = data(weight)
    values = values.transpose(1, 2, 3, 0) if depthwise else values.transpose(0, 2, 3, 1)
    weights = writer.constant(weight.name, values, weight.scale, weight.zero_point, channel_axis=3 if depthwise else 0)

    options: Any = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = padding
    options.strideH, options.strideW = stride
    options.dilationHFactor, options.dilationWFactor = dilation
    if depthwise:
        options.depthMultiplier = outputs // image.shape[1]
    code = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    inputs = [source, weights, _biases(writer, node, image, weight, outputs)]
    writer.operator(code, inputs, [writer.activation(node.outputs[0])], options)


def matrix_product(writer: Writer, node: Node) -> None:
    """Rows by a constant matrix: the rows become pixels, the matrix the weights."""
    rows, weight, result = given(node.inputs[0]), given(node.inputs[1]), node.outputs[0]
    settings = node.attributes
    plain = settings.get("alpha", 1.0) == settings.get("beta", 1.0) == 1.0 and not settings.get("transA", 0)
    if weight.data is None or len(weight.shape) != 2 or not plain:
        refuse(node, "only rows by a constant matrix, unscaled, are known")
    values = data(weight) if settings.get("transB", 0) else data(weight).T
    outputs, width = values.shape
    count = int(np.prod(rows.shape)) // width
    pixels = writer.intermediate(rows, f"{node.name}/pixels", (1, 1, count, width))
    writer.reshape(writer.activation(rows, tuple(range(len(rows.shape)))), pixels)
    weights = writer.constant(weight.name, values[:, None, None, :], weight.scale, weight.zero_point, channel_axis=0)
    made = writer.intermediate(result, f"{node.name}/made", (1, 1, count, outputs))
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, 1, 1
    writer.operator("CONV_2D", [pixels, weights, _biases(writer, node, rows, weight, outputs)], [made], options)
    writer.reshape(made, writer.activation(result, tuple(range(len(result.shape)))))


def _biases(writer: Writer, node: Node, image: Tensor, weight: Tensor, outputs: int) -> int:
    bias = given(node.inputs[2]) if len(node.inputs) > 2 else None
    return writer.constant(
        bias.name if bias else f"{node.name}/bias",
        data(bias).ravel() if bias else np.zeros(outputs, np.int32),
        (image.scale * weight.scale).astype(np.float32),
        np.zeros(len(weight.scale), np.int64),
    )
