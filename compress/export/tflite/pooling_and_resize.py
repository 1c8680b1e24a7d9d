"""Writes pooling and resize operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...graph.qdq import QuantizedNode, QuantizedTensor
from .layout import default_order
from .operands import raise_unsupported, read_integers, require_tensor
from .padding import read_pads, write_padding
from .writer import SubgraphWriter

_LOWEST = np.int8(-128)


def write_max_pool(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """MaxPool as MAX_POOL_2D; padding has the lowest integer."""
    image = require_tensor(node.inputs[0])
    if len(node.outputs) > 1 or set(node.attributes.get("dilations", (1,))) != {1}:
        raise_unsupported(node, "dilation and the output of indices are not supported")
    _write_pool(writer, node, image, "MAX_POOL_2D", _LOWEST)


def write_average_pool(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """AveragePool as AVERAGE_POOL_2D, without padding or with padding that counts as zeros.

    The two runtimes divide differently at the edge in all other cases.
    """
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    pads = read_pads(node)
    if any(pads) and not node.attributes.get("count_include_pad", 0):
        raise_unsupported(node, "it leaves its padding out of the mean (count_include_pad)")
    if node.attributes.get("ceil_mode", 0):
        raise_unsupported(node, "its windows extend beyond the edge (ceil_mode)")
    if image.scale != result.scale or image.zero_point != result.zero_point:
        raise_unsupported(node, "its output has another scale than its input")
    _write_pool(writer, node, image, "AVERAGE_POOL_2D", None)


def write_global_pool_as_average_pool(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """GlobalAveragePool as AVERAGE_POOL_2D over height and width."""
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    if image.scale != result.scale or image.zero_point != result.zero_point:
        raise_unsupported(node, "its output has another scale than its input")
    _add_pool_operator(writer, node, "AVERAGE_POOL_2D", writer.add_activation(image), tuple(image.shape[2:]), (1, 1))


def write_reduce_max(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """ReduceMax as REDUCE_MAX."""
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    rank = len(image.shape)
    axes = [axis % rank for axis in read_integers(node, 1, "axes") or range(rank)]
    order = default_order(rank)
    options = schema.ReducerOptionsT()
    options.keepDims = bool(node.attributes.get("keepdims", 1))
    file_axes = np.array(sorted(order.index(axis) for axis in axes), np.int32)
    axes_constant = writer.add_constant(f"{node.name}/axes", file_axes)
    if options.keepDims:
        after = order
    else:
        remaining = [axis for axis in order if axis not in axes]
        after = tuple(sorted(remaining).index(axis) for axis in remaining)
    writer.add_operator(
        "REDUCE_MAX", [writer.add_activation(image), axes_constant], [writer.add_activation(result, after)], options
    )


def write_resize(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Resize as RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR.

    Nearest neighbor needs integer factors, for which all rounding rules select the same pixel.
    """
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    mode = node.attributes.get("mode", b"nearest")
    coordinates = node.attributes.get("coordinate_transformation_mode", b"half_pixel")
    if len(image.shape) != 4 or image.shape[:2] != result.shape[:2]:
        raise_unsupported(node, "it resizes more than height and width")
    size = writer.add_constant(f"{node.name}/size", np.array(result.shape[2:], np.int32))
    if mode == b"nearest":
        if any(after % before for before, after in zip(image.shape, result.shape, strict=True)):
            raise_unsupported(node, "nearest neighbor is supported for integer factors only")
        options: Any = schema.ResizeNearestNeighborOptionsT()
        code = "RESIZE_NEAREST_NEIGHBOR"
    elif mode == b"linear" and coordinates in (b"half_pixel", b"pytorch_half_pixel", b"align_corners", b"asymmetric"):
        options = schema.ResizeBilinearOptionsT()
        options.alignCorners = coordinates == b"align_corners"
        options.halfPixelCenters = coordinates.endswith(b"half_pixel")
        code = "RESIZE_BILINEAR"
    else:
        raise_unsupported(node, f"mode {mode.decode()} with {coordinates.decode()} is not supported")
    writer.add_operator(code, [writer.add_activation(image), size], [writer.add_activation(result)], options)


def _write_pool(
    writer: SubgraphWriter, node: QuantizedNode, image: QuantizedTensor, code: str, filling: np.int8 | None
) -> None:
    """A pooling operator with its padding; `filling` as in `write_padding`."""
    kernel, stride = tuple(node.attributes["kernel_shape"]), tuple(node.attributes.get("strides", (1, 1)))
    if len(kernel) != 2:
        raise_unsupported(node, "only pooling over height and width is supported")
    pads = read_pads(node)
    extra = [0, 0]
    for axis in (0, 1) if node.attributes.get("ceil_mode", 0) else ():
        covered = (node.outputs[0].shape[2 + axis] - 1) * stride[axis] + kernel[axis]
        extra[axis] = max(covered - image.shape[2 + axis] - pads[axis] - pads[2 + axis], 0)
    source, padding = write_padding(writer, node, image, kernel, stride, filling=filling, extra=(extra[0], extra[1]))
    if code == "AVERAGE_POOL_2D" and padding == schema.Padding.SAME:  # TFLite leaves this padding out
        raise_unsupported(node, "TFLite would leave its padding out of the mean: put a Pad before it")
    _add_pool_operator(writer, node, code, source, kernel, stride, padding)


def _add_pool_operator(
    writer: SubgraphWriter,
    node: QuantizedNode,
    code: str,
    source: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: int = schema.Padding.VALID,
) -> None:
    """The TFLite pooling operator `code` on the tensor of index `source`."""
    options = schema.Pool2DOptionsT()
    options.padding = padding
    options.filterHeight, options.filterWidth = kernel
    options.strideH, options.strideW = stride
    writer.add_operator(code, [source], [writer.add_activation(node.outputs[0])], options)
