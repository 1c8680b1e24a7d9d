"""Writes convolutions, and matrix products as 1 x 1 convolutions.

TFLite has FULLY_CONNECTED, but its older kernels support only one scale for all weights. A convolution has one scale
per channel in all versions and computes the same integer sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...graph.qdq import QuantizedNode, QuantizedTensor
from .operands import constant_data, raise_unsupported, require_tensor
from .padding import write_padding
from .writer import SubgraphWriter


def write_convolution(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Conv as CONV_2D or DEPTHWISE_CONV_2D."""
    image, weight = require_tensor(node.inputs[0]), require_tensor(node.inputs[1])
    outputs, depth, height, width = weight.shape
    group = node.attributes.get("group", 1)
    depthwise = depth == 1 and group == image.shape[1] and image.shape[1] > 1
    if not depthwise and group != 1:
        raise_unsupported(
            node, f"its channels are in {group} groups: only one group or one group per channel is supported"
        )

    stride = tuple(node.attributes.get("strides", (1, 1)))
    dilation = tuple(node.attributes.get("dilations", (1, 1)))
    source, padding = write_padding(writer, node, image, (height, width), stride, dilation)
    values = constant_data(weight)
    values = values.transpose(1, 2, 3, 0) if depthwise else values.transpose(0, 2, 3, 1)
    weights = writer.add_constant(
        weight.name, values, weight.scale, weight.zero_point, channel_axis=3 if depthwise else 0
    )

    options: Any = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = padding
    options.strideH, options.strideW = stride
    options.dilationHFactor, options.dilationWFactor = dilation
    if depthwise:
        options.depthMultiplier = outputs // image.shape[1]
    code = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    inputs = [source, weights, _add_bias(writer, node, image, weight, outputs)]
    writer.add_operator(code, inputs, [writer.add_activation(node.outputs[0])], options)


def write_matmul_as_convolution(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Gemm or MatMul by a constant matrix as CONV_2D: the rows become pixels, the matrix becomes the weights."""
    rows, weight, result = require_tensor(node.inputs[0]), require_tensor(node.inputs[1]), node.outputs[0]
    attributes = node.attributes
    plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0 and not attributes.get("transA", 0)
    if weight.data is None or len(weight.shape) != 2 or not plain:
        raise_unsupported(node, "only products with a constant matrix, without alpha, beta or transA, are supported")
    values = constant_data(weight) if attributes.get("transB", 0) else constant_data(weight).T
    outputs, width = values.shape
    count = int(np.prod(rows.shape)) // width
    pixels = writer.add_intermediate(rows, f"{node.name}/pixels", (1, 1, count, width))
    writer.add_reshape(writer.add_activation(rows, tuple(range(len(rows.shape)))), pixels)
    weights = writer.add_constant(
        weight.name, values[:, None, None, :], weight.scale, weight.zero_point, channel_axis=0
    )
    product = writer.add_intermediate(result, f"{node.name}/made", (1, 1, count, outputs))
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, 1, 1
    writer.add_operator(
        "CONV_2D", [pixels, weights, _add_bias(writer, node, rows, weight, outputs)], [product], options
    )
    writer.add_reshape(product, writer.add_activation(result, tuple(range(len(result.shape)))))


def _add_bias(
    writer: SubgraphWriter, node: QuantizedNode, image: QuantizedTensor, weight: QuantizedTensor, outputs: int
) -> int:
    """Index of the bias of `node`; zeros if it has none, because TFLite requires one."""
    bias = require_tensor(node.inputs[2]) if len(node.inputs) > 2 else None
    return writer.add_constant(
        bias.name if bias else f"{node.name}/bias",
        constant_data(bias).ravel() if bias else np.zeros(outputs, np.int32),
        (image.scale * weight.scale).astype(np.float32),
        np.zeros(len(weight.scale), np.int64),
    )
