"""One function per ONNX operator: how it is said in TFLite.

Each takes the writer and the node, adds what TFLite needs, and must compute the same integers as ONNX Runtime; the
tests hold each of them to that on random shapes and parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from vedette.runtime.problem import Problem

from ..qdq import Node, Tensor
from .writer import Writer, nhwc


def unknown(_: Writer, node: Node) -> None:
    raise Problem(
        f"node {node.name!r} is a {node.kind}, which the TFLite writer does not know",
        hint=f"it knows {', '.join(sorted(OPERATORS))}",
    )


def convolution(writer: Writer, node: Node) -> None:
    image, weight = _given(node.inputs[0]), _given(node.inputs[1])
    result = node.outputs[0]
    outputs, depth, height, width = weight.shape
    depthwise = depth == 1 and node.attributes.get("group", 1) == image.shape[1] and image.shape[1] > 1
    if not depthwise and node.attributes.get("group", 1) != 1:
        unknown(writer, node)

    stride = tuple(node.attributes.get("strides", (1, 1)))
    dilation = tuple(node.attributes.get("dilations", (1, 1)))
    source, padding = _padded(writer, node, image, (height, width), stride, dilation)
    data = _data(weight)
    data = data.transpose(1, 2, 3, 0) if depthwise else data.transpose(0, 2, 3, 1)
    weights = writer.constant(weight.name, data, weight.scale, weight.zero_point, channel_axis=3 if depthwise else 0)
    bias = _given(node.inputs[2]) if len(node.inputs) > 2 else None
    biases = writer.constant(
        bias.name if bias else f"{node.name}/bias",
        _data(bias) if bias else np.zeros(outputs, np.int32),
        (image.scale * weight.scale).astype(np.float32),
        np.zeros(len(weight.scale), np.int64),
    )

    options: Any = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = padding
    options.strideH, options.strideW = stride
    options.dilationHFactor, options.dilationWFactor = dilation
    if depthwise:
        options.depthMultiplier = outputs // image.shape[1]
    code = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    writer.operator(code, [source, weights, biases], [writer.activation(result)], options)


def add(writer: Writer, node: Node) -> None:
    writer.operator("ADD", _operands(writer, node), [writer.activation(node.outputs[0])], schema.AddOptionsT())


def concatenate(writer: Writer, node: Node) -> None:
    """Only of one scale and zero point: then it copies, as TFLite demands."""
    images, result = [_given(tensor) for tensor in node.inputs], node.outputs[0]
    same = all(image.scale == result.scale and image.zero_point == result.zero_point for image in images)
    axis = node.attributes["axis"] % len(result.shape)
    if not same or len(result.shape) != 4:
        unknown(writer, node)
    options = schema.ConcatenationOptionsT()
    options.axis = (0, 3, 1, 2)[axis]
    indices = [writer.activation(image) for image in images]
    writer.operator("CONCATENATION", indices, [writer.activation(result)], options)


def multiply(writer: Writer, node: Node) -> None:
    writer.operator("MUL", _operands(writer, node), [writer.activation(node.outputs[0])], schema.MulOptionsT())


def resize(writer: Writer, node: Node) -> None:
    """Nearest neighbour by a whole factor: there every rounding rule picks the same pixel."""
    image, result = _given(node.inputs[0]), node.outputs[0]
    whole = all(after % before == 0 for before, after in zip(image.shape, result.shape, strict=True))
    if node.attributes.get("mode") != b"nearest" or not whole:
        unknown(writer, node)
    size = writer.constant(f"{node.name}/size", np.array(result.shape[2:], np.int32))
    options = schema.ResizeNearestNeighborOptionsT()
    writer.operator("RESIZE_NEAREST_NEIGHBOR", [writer.activation(image), size], [writer.activation(result)], options)


def reduce_max(writer: Writer, node: Node) -> None:
    image = _given(node.inputs[0])
    axes = [axis % len(image.shape) for axis in _data(_given(node.inputs[1]))]
    if len(image.shape) == 4:
        axes = sorted((0, 3, 1, 2)[axis] for axis in axes)
    options = schema.ReducerOptionsT()
    options.keepDims = bool(node.attributes.get("keepdims", 1))
    where = writer.constant(f"{node.name}/axes", np.array(axes, np.int32))
    writer.operator("REDUCE_MAX", [writer.activation(image), where], [writer.activation(node.outputs[0])], options)


def transpose(writer: Writer, node: Node) -> None:
    """Only the change from N H W C to N C H W at the input, which in TFLite is no change at all."""
    image, result = _given(node.inputs[0]), node.outputs[0]
    if tuple(node.attributes["perm"]) != (0, 3, 1, 2) or image.name in writer.indices:
        unknown(writer, node)
    writer.activation(Tensor(image.name, result.shape, image.scale, image.zero_point, None))
    writer.alias(result, image)


def _operands(writer: Writer, node: Node) -> list[int]:
    """The two inputs of an element-wise operator, each an activation or an u8 constant of the same rank."""
    indices = []
    for tensor in map(_given, node.inputs):
        if tensor.data is None:
            indices.append(writer.activation(tensor))
            continue
        data = (tensor.data.astype(np.int16) - 128).astype(np.int8).reshape(tensor.shape)
        data = data.transpose(0, 2, 3, 1) if data.ndim == 4 else data
        indices.append(writer.constant(tensor.name, data, tensor.scale, tensor.zero_point - 128))
    return indices


def _padded(
    writer: Writer,
    node: Node,
    image: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, int]:
    """The input's index and TFLite's padding: SAME or VALID where that is what ONNX says, else a PAD before it."""
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    source = writer.activation(image)
    if (top, left, bottom, right) == (0, 0, 0, 0):
        return source, schema.Padding.VALID
    same = []
    for extent, size, step, spread in zip(image.shape[2:], kernel, stride, dilation, strict=True):
        needed = max((-(-extent // step) - 1) * step + (size - 1) * spread + 1 - extent, 0)
        same.append((needed // 2, needed - needed // 2))
    if same == [(top, bottom), (left, right)]:
        return source, schema.Padding.SAME

    amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    batch, high, wide, channels = nhwc(image.shape)
    shape = (batch, high + top + bottom, wide + left + right, channels)
    padded = writer.intermediate(image, f"{node.name}/padded", shape)
    writer.operator("PAD", [source, writer.constant(f"{node.name}/pads", amounts)], [padded], schema.PadOptionsT())
    return padded, schema.Padding.VALID


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None  # the operators that call this have no optional input there
    return tensor


def _data(tensor: Tensor) -> Any:
    assert tensor.data is not None
    return tensor.data


OPERATORS: dict[str, Callable[[Writer, Node], None]] = {
    "Add": add,
    "Concat": concatenate,
    "Conv": convolution,
    "Mul": multiply,
    "ReduceMax": reduce_max,
    "Resize": resize,
    "Transpose": transpose,
}
