"""Neighbouring pixels: padding, pooling, and changes of size."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...graph.qdq import Node, Tensor
from .layout import laid, usual
from .operands import given, numbers, refuse
from .writer import Writer

_LOWEST = np.int8(-128)


def max_pool(writer: Writer, node: Node) -> None:
    """What lies outside is lower than anything."""
    image = given(node.inputs[0])
    if len(node.outputs) > 1 or set(node.attributes.get("dilations", (1,))) != {1}:
        refuse(node, "only the highest values, of neighbours, are known")
    _pool(writer, node, image, "MAX_POOL_2D", _LOWEST)


def average_pool(writer: Writer, node: Node) -> None:
    """Padding counts as zeros, or there is none: how else to divide at the edge, the two libraries do not agree on."""
    image, result = given(node.inputs[0]), node.outputs[0]
    pads = _pads(node)
    if any(pads) and not node.attributes.get("count_include_pad", 0):
        refuse(node, "it averages over fewer pixels at the edge")
    if node.attributes.get("ceil_mode", 0):
        refuse(node, "it reaches beyond the edge (ceil_mode)")
    if image.scale != result.scale or image.zero_point != result.zero_point:
        refuse(node, "its result has another scale than its input")
    _pool(writer, node, image, "AVERAGE_POOL_2D", None)


def global_average_pool(writer: Writer, node: Node) -> None:
    image, result = given(node.inputs[0]), node.outputs[0]
    if image.scale != result.scale or image.zero_point != result.zero_point:
        refuse(node, "its result has another scale than its input")
    _emit(writer, node, "AVERAGE_POOL_2D", writer.activation(image), tuple(image.shape[2:]), (1, 1))


def reduce_max(writer: Writer, node: Node) -> None:
    image, result = given(node.inputs[0]), node.outputs[0]
    rank = len(image.shape)
    axes = [axis % rank for axis in numbers(node, 1, "axes") or range(rank)]
    order = usual(rank)
    options = schema.ReducerOptionsT()
    options.keepDims = bool(node.attributes.get("keepdims", 1))
    where = writer.constant(f"{node.name}/axes", np.array(sorted(order.index(axis) for axis in axes), np.int32))
    if options.keepDims:
        after = order
    else:
        left = [axis for axis in order if axis not in axes]
        after = tuple(sorted(left).index(axis) for axis in left)
    writer.operator("REDUCE_MAX", [writer.activation(image), where], [writer.activation(result, after)], options)


def resize(writer: Writer, node: Node) -> None:
    """Nearest neighbour by a whole factor, where every rounding rule picks the same pixel; or bilinear."""
    image, result = given(node.inputs[0]), node.outputs[0]
    mode, how = (
        node.attributes.get("mode", b"nearest"),
        node.attributes.get("coordinate_transformation_mode", b"half_pixel"),
    )
    if len(image.shape) != 4 or image.shape[:2] != result.shape[:2]:
        refuse(node, "it changes more than height and width")
    size = writer.constant(f"{node.name}/size", np.array(result.shape[2:], np.int32))
    if mode == b"nearest":
        if any(after % before for before, after in zip(image.shape, result.shape, strict=True)):
            refuse(node, "nearest neighbours are known by whole factors only")
        options: Any = schema.ResizeNearestNeighborOptionsT()
        code = "RESIZE_NEAREST_NEIGHBOR"
    elif mode == b"linear" and how in (b"half_pixel", b"pytorch_half_pixel", b"align_corners", b"asymmetric"):
        options = schema.ResizeBilinearOptionsT()
        options.alignCorners, options.halfPixelCenters = how == b"align_corners", how.endswith(b"half_pixel")
        code = "RESIZE_BILINEAR"
    else:
        refuse(node, f"{mode.decode()} by {how.decode()} is not known")
    writer.operator(code, [writer.activation(image), size], [writer.activation(result)], options)


def pad(writer: Writer, node: Node) -> None:
    """With a constant, or with what lies at the edge."""
    image, result = given(node.inputs[0]), node.outputs[0]
    rank, mode = len(image.shape), node.attributes.get("mode", b"constant").decode()
    amounts = numbers(node, 1, "pads") or []
    if len(amounts) != 2 * rank or min(amounts) < 0:
        refuse(node, "only pads of every axis, none of them negative, are known")
    order = usual(rank)
    table = np.array([laid(amounts[:rank], order), laid(amounts[rank:], order)], np.int32).T
    where = writer.constant(f"{node.name}/pads", table)
    source, made = writer.activation(image, order), writer.activation(result, order)
    if mode == "constant":
        value = node.inputs[2] if len(node.inputs) > 2 else None
        zero = int(image.zero_point[0])
        if value is not None and value.data is not None and value.scale.size:
            zero = int(value.data.ravel()[0])
        filling = writer.constant(
            f"{node.name}/value", np.array([zero - 128], np.int8), image.scale, image.zero_point - 128
        )
        writer.operator("PADV2", [source, where, filling], [made], schema.PadV2OptionsT())
        return
    if mode not in ("reflect", "edge") or (mode == "edge" and max(amounts) > 1):
        refuse(node, f"{mode} is not known, or not so wide")
    options = schema.MirrorPadOptionsT()
    options.mode = schema.MirrorPadMode.REFLECT if mode == "reflect" else schema.MirrorPadMode.SYMMETRIC
    writer.operator("MIRROR_PAD", [source, where], [made], options)


def padded(
    writer: Writer,
    node: Node,
    image: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...] = (1, 1),
    filling: np.int8 | None = None,
    beyond: tuple[int, int] = (0, 0),
) -> tuple[int, int]:
    """The input's index and TFLite's padding: SAME or VALID where that is what ONNX says, else a PAD before it.

    Args:
        writer: writes
        node: has the pads
        image: is padded
        kernel: height and width
        stride: likewise
        dilation: likewise
        filling: the integer outside; None: what stands for 0
        beyond: rows and columns more at the bottom right
    """
    top, left, bottom, right = _pads(node)
    bottom, right = bottom + beyond[0], right + beyond[1]
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
    batch, high, wide, channels = laid(image.shape, usual(4))
    made = writer.intermediate(
        image, f"{node.name}/padded", (batch, high + top + bottom, wide + left + right, channels)
    )
    inputs = [source, writer.constant(f"{node.name}/pads", amounts)]
    if filling is None:
        writer.operator("PAD", inputs, [made], schema.PadOptionsT())
    else:
        value = writer.constant(f"{node.name}/outside", np.array([filling]), image.scale, image.zero_point - 128)
        writer.operator("PADV2", [*inputs, value], [made], schema.PadV2OptionsT())
    return made, schema.Padding.VALID


def _pool(writer: Writer, node: Node, image: Tensor, code: str, filling: np.int8 | None) -> None:
    kernel, stride = tuple(node.attributes["kernel_shape"]), tuple(node.attributes.get("strides", (1, 1)))
    if len(kernel) != 2:
        refuse(node, "only height and width can be pooled over")
    pads = _pads(node)
    beyond = [0, 0]
    for axis in (0, 1) if node.attributes.get("ceil_mode", 0) else ():
        reach = (node.outputs[0].shape[2 + axis] - 1) * stride[axis] + kernel[axis]
        beyond[axis] = max(reach - image.shape[2 + axis] - pads[axis] - pads[2 + axis], 0)
    source, padding = padded(writer, node, image, kernel, stride, filling=filling, beyond=(beyond[0], beyond[1]))
    if code == "AVERAGE_POOL_2D" and padding == schema.Padding.SAME:  # where TFLite does not count the zeros
        refuse(node, "TFLite would not count its zeros at the edge: put a Pad before it")
    _emit(writer, node, code, source, kernel, stride, padding)


def _emit(
    writer: Writer,
    node: Node,
    code: str,
    source: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: int = schema.Padding.VALID,
) -> None:
    options = schema.Pool2DOptionsT()
    options.padding = padding
    options.filterHeight, options.filterWidth = kernel
    options.strideH, options.strideW = stride
    writer.operator(code, [source], [writer.activation(node.outputs[0])], options)


def _pads(node: Node) -> tuple[int, ...]:
    if node.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        refuse(node, "its padding is not said in numbers (auto_pad)")
    return tuple(node.attributes.get("pads", (0, 0, 0, 0)))
