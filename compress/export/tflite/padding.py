"""Writes padding, as an operator of its own or as a part of the operator that follows it."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...graph.qdq import QuantizedNode, QuantizedTensor
from .data_movement import write_contiguous_slice
from .layout import default_order, permute_axes
from .operands import raise_unsupported, read_integers, require_tensor
from .writer import SubgraphWriter


def write_pad(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Pad as PADV2 with a constant, as CONCATENATION with the pixels at the edge, or as MIRROR_PAD."""
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    rank, mode = len(image.shape), node.attributes.get("mode", b"constant").decode()
    amounts = read_integers(node, 1, "pads") or []
    if len(amounts) != 2 * rank or min(amounts) < 0:
        raise_unsupported(node, "only non-negative pads for all axes are supported")
    order = default_order(rank)
    table = np.array([permute_axes(amounts[:rank], order), permute_axes(amounts[rank:], order)], np.int32).T
    source, padded = writer.add_activation(image, order), writer.add_activation(result, order)
    if mode == "edge" and max(amounts) == 1:
        _write_edges(writer, node, image, source, padded, table)
        return
    pads = writer.add_constant(f"{node.name}/pads", table)
    if mode == "constant":
        zero = _read_pad_value(node, image)
        filling = writer.add_constant(
            f"{node.name}/value", np.array([zero - 128], np.int8), image.scale, image.zero_point - 128
        )
        writer.add_operator("PADV2", [source, pads, filling], [padded], schema.PadV2OptionsT())
        return
    if mode != "reflect" and (mode != "edge" or any(amounts)):
        raise_unsupported(node, f"mode {mode} is not supported, or not for this width")
    options = schema.MirrorPadOptionsT()
    options.mode = schema.MirrorPadMode.REFLECT
    writer.add_operator("MIRROR_PAD", [source, pads], [padded], options)


def _write_edges(
    writer: SubgraphWriter, node: QuantizedNode, image: QuantizedTensor, source: int, padded: int, table: Any
) -> None:
    """Repeats the first and the last slice of an axis as the table says, the last axis first.

    MIRROR_PAD gives the same integers, but LiteRT copies them one by one. So does PADV2, and before a maximum it can be
    replaced by this: each window that reaches one pixel beyond the edge contains the pixel at the edge.
    """
    axes = [int(axis) for axis in reversed(np.flatnonzero(table.any(axis=1)))]
    for axis in axes:
        shape = [*writer.subgraph.tensors[source].shape]
        name, edge = f"{node.name}/{axis}", tuple(1 if at == axis else extent for at, extent in enumerate(shape))
        parts = [source]
        for at, place in ((0, 0), (1, shape[axis] - 1)):
            if table[axis, at]:
                part = writer.add_intermediate(image, f"{name}/edge{at}", edge)
                first = [place if number == axis else 0 for number in range(len(shape))]
                write_contiguous_slice(writer, f"{name}/edge{at}", source, part, first)
                parts.insert(at * len(parts), part)
        shape[axis] += int(table[axis].sum())
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        target = padded if axis == axes[-1] else writer.add_intermediate(image, name, tuple(shape))
        writer.add_operator("CONCATENATION", parts, [target], options)
        source = target


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
        filling: the lowest integer as padding, as a maximum needs it; None: the integer for 0
        extra: additional rows and columns at the bottom and right

    Returns:
        Index of the possibly padded input, and TFLite's padding.
    """
    top, left, bottom, right = read_pads(node)
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
    if filling is not None:  # a PAD fused with a convolution costs nothing; here each row and column is copied
        bottom, right = (
            max((extent - 1) * step + size - before - first, 0)
            for extent, step, size, before, first in zip(
                node.outputs[0].shape[2:], stride, kernel, image.shape[2:], (top, left), strict=True
            )
        )
        if (top, left, bottom, right) == (0, 0, 0, 0):
            return source, schema.Padding.VALID

    amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    batch, rows, columns, channels = permute_axes(image.shape, default_order(4))
    padded = writer.add_intermediate(
        image, f"{node.name}/padded", (batch, rows + top + bottom, columns + left + right, channels)
    )
    if filling is not None and amounts.max() == 1 < min(kernel):
        _write_edges(writer, node, image, source, padded, amounts)
        return padded, schema.Padding.VALID
    inputs = [source, writer.add_constant(f"{node.name}/pads", amounts)]
    if filling is None:
        writer.add_operator("PAD", inputs, [padded], schema.PadOptionsT())
    else:
        value = writer.add_constant(f"{node.name}/outside", np.array([filling]), image.scale, image.zero_point - 128)
        writer.add_operator("PADV2", [*inputs, value], [padded], schema.PadV2OptionsT())
    return padded, schema.Padding.VALID


def read_pads(node: QuantizedNode) -> tuple[int, ...]:
    """Padding at the top, left, bottom and right."""
    if node.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise_unsupported(node, "its padding is given by auto_pad instead of numbers")
    return tuple(node.attributes.get("pads", (0, 0, 0, 0)))
