"""Writes padding, pooling and resize operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...graph.qdq import QuantizedNode, QuantizedTensor
from .layout import default_order, permute_axes
from .operands import raise_unsupported, read_integers, require_tensor
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
    pads = _read_pads(node)
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


def write_pad(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Pad as PADV2 with a constant, or as MIRROR_PAD with the pixels at the edge."""
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    rank, mode = len(image.shape), node.attributes.get("mode", b"constant").decode()
    amounts = read_integers(node, 1, "pads") or []
    if len(amounts) != 2 * rank or min(amounts) < 0:
        raise_unsupported(node, "only non-negative pads for all axes are supported")
    order = default_order(rank)
    table = np.array([permute_axes(amounts[:rank], order), permute_axes(amounts[rank:], order)], np.int32).T
    pads = writer.add_constant(f"{node.name}/pads", table)
    source, padded = writer.add_activation(image, order), writer.add_activation(result, order)
    if mode == "constant":
        zero = _read_pad_value(node, image)
        filling = writer.add_constant(
            f"{node.name}/value", np.array([zero - 128], np.int8), image.scale, image.zero_point - 128
        )
        writer.add_operator("PADV2", [source, pads, filling], [padded], schema.PadV2OptionsT())
        return
    if mode not in ("reflect", "edge") or (mode == "edge" and max(amounts) > 1):
        raise_unsupported(node, f"mode {mode} is not supported, or not for this width")
    options = schema.MirrorPadOptionsT()
    options.mode = schema.MirrorPadMode.REFLECT if mode == "reflect" else schema.MirrorPadMode.SYMMETRIC
    writer.add_operator("MIRROR_PAD", [source, pads], [padded], options)


def _read_pad_value(node: QuantizedNode, image: QuantizedTensor) -> int:
    """The integer, in the scale of the image, that a Pad puts around it."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return int(image.zero_point[0])
    if value.data is None:
        raise_unsupported(node, "its value is computed at run time")
    real = float(value.data.ravel()[0])
    if value.scale.size:
        real = float(value.scale[0]) * (real - int(value.zero_point[0]))
    return int(np.clip(np.rint(real / float(image.scale[0])) + int(image.zero_point[0]), 0, 255))


def write_padding(
    writer: SubgraphWriter,
    node: QuantizedNode,
    image: QuantizedTensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...] = (1, 1),
    filling: np.int8 | None = None,
    extra: tuple[int, int] = (0, 0),
) -> tuple[int, int]:
    """Express the padding of a node as TFLite's SAME or VALID where they are equal, else by a PAD before it.

    Args:
        writer: writer of the subgraph
        node: operator with the pads
        image: its input
        kernel: height and width of the kernel
        stride: vertical and horizontal
        dilation: vertical and horizontal
        filling: integer of the padding; None: the integer for 0
        extra: additional rows and columns at the bottom and right

    Returns:
        Index of the possibly padded input, and TFLite's padding.
    """
    top, left, bottom, right = _read_pads(node)
    bottom, right = bottom + extra[0], right + extra[1]
    source = writer.add_activation(image)
    if (top, left, bottom, right) == (0, 0, 0, 0):
        return source, schema.Padding.VALID
    same = []
    for extent, size, step, spacing in zip(image.shape[2:], kernel, stride, dilation, strict=True):
        needed = max((-(-extent // step) - 1) * step + (size - 1) * spacing + 1 - extent, 0)
        same.append((needed // 2, needed - needed // 2))
    if same == [(top, bottom), (left, right)]:
        return source, schema.Padding.SAME

    amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    batch, rows, columns, channels = permute_axes(image.shape, default_order(4))
    padded = writer.add_intermediate(
        image, f"{node.name}/padded", (batch, rows + top + bottom, columns + left + right, channels)
    )
    inputs = [source, writer.add_constant(f"{node.name}/pads", amounts)]
    if filling is None:
        writer.add_operator("PAD", inputs, [padded], schema.PadOptionsT())
    else:
        value = writer.add_constant(f"{node.name}/outside", np.array([filling]), image.scale, image.zero_point - 128)
        writer.add_operator("PADV2", [*inputs, value], [padded], schema.PadV2OptionsT())
    return padded, schema.Padding.VALID


def _write_pool(
    writer: SubgraphWriter, node: QuantizedNode, image: QuantizedTensor, code: str, filling: np.int8 | None
) -> None:
    """A pooling operator with its padding; `filling` as in `write_padding`."""
    kernel, stride = tuple(node.attributes["kernel_shape"]), tuple(node.attributes.get("strides", (1, 1)))
    if len(kernel) != 2:
        raise_unsupported(node, "only pooling over height and width is supported")
    pads = _read_pads(node)
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


def _read_pads(node: QuantizedNode) -> tuple[int, ...]:
    """Padding at the top, left, bottom and right."""
    if node.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise_unsupported(node, "its padding is given by auto_pad instead of numbers")
    return tuple(node.attributes.get("pads", (0, 0, 0, 0)))
