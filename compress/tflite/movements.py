"""Integers that go elsewhere as they are: joined, divided, reshaped, turned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..qdq import Node, Tensor
from . import layout
from .operands import data, given, numbers, refuse
from .writer import Writer


def concatenate(writer: Writer, node: Node) -> None:
    """Only of one scale and zero point: then it copies, as TFLite demands."""
    images, result = [given(tensor) for tensor in node.inputs], node.outputs[0]
    if any(image.data is not None for image in images):
        refuse(node, "it joins a constant")
    if not all(image.scale == result.scale and image.zero_point == result.zero_point for image in images):
        refuse(node, "what it joins has more than one scale")
    order = writer.order(images[0])
    options = schema.ConcatenationOptionsT()
    options.axis = order.index(node.attributes["axis"] % len(result.shape))
    indices = [writer.activation(image, order) for image in images]
    writer.operator("CONCATENATION", indices, [writer.activation(result, order)], options)


def transpose(writer: Writer, node: Node) -> None:
    """Nothing is moved before somebody needs it moved."""
    image, result = given(node.inputs[0]), node.outputs[0]
    perm = node.attributes.get("perm", tuple(reversed(range(len(image.shape)))))
    writer.alias(result, image, layout.transposed(writer.order(image), perm))


def reshape(writer: Writer, node: Node) -> None:
    """Also Flatten, Squeeze and Unsqueeze: the shape that comes of it is known."""
    image, result = given(node.inputs[0]), node.outputs[0]
    if 0 in result.shape or np.prod(image.shape) != np.prod(result.shape):
        refuse(node, "the shape of its result is not known before it runs")
    before = writer.order(image)
    after = layout.reshaped(image.shape, before, result.shape)
    if after is None:
        before, after = tuple(range(len(image.shape))), tuple(range(len(result.shape)))
    writer.reshape(writer.activation(image, before), writer.activation(result, after))


def cut(writer: Writer, node: Node) -> None:
    """Slice"""
    image, result = given(node.inputs[0]), node.outputs[0]
    rank = len(image.shape)
    starts, ends = numbers(node, 1, "starts") or [], numbers(node, 2, "ends") or []
    axes = numbers(node, 3, "axes") or list(range(len(starts)))
    steps = numbers(node, 4, "steps") or [1] * len(starts)
    begin, stride = [0] * rank, [1] * rank
    for axis, start, _, step in zip(axes, starts, ends, steps, strict=True):
        extent = image.shape[axis]
        if step < 1:
            refuse(node, "it goes backwards")
        begin[axis], stride[axis] = min(start + extent if start < 0 else start, extent), step
    _take(writer, node, image, result, begin, stride)


def split(writer: Writer, node: Node) -> None:
    image = given(node.inputs[0])
    axis = node.attributes.get("axis", 0) % len(image.shape)
    begin = [0] * len(image.shape)
    for result in node.outputs:
        _take(writer, node, image, result, begin, [1] * len(image.shape))
        begin[axis] += result.shape[axis]


def space_to_depth(writer: Writer, node: Node) -> None:
    options = schema.SpaceToDepthOptionsT()
    options.blockSize = node.attributes["blocksize"]
    images, results = [writer.activation(given(node.inputs[0]))], [writer.activation(node.outputs[0])]
    writer.operator("SPACE_TO_DEPTH", images, results, options)


def gather(writer: Writer, node: Node) -> None:
    """By constant indices; evenly spaced ones are a slice."""
    image, which, result = given(node.inputs[0]), given(node.inputs[1]), node.outputs[0]
    if which.data is None or image.data is not None or which.data.ndim > 1:
        refuse(node, "only constant indices along one axis are known")
    axis = node.attributes.get("axis", 0) % len(image.shape)
    wanted = data(which).ravel() % image.shape[axis]
    steps = set(np.diff(wanted).tolist())
    order = writer.order(image)
    shape = tuple(len(wanted) if each == axis else extent for each, extent in enumerate(image.shape))
    taken = result if which.data.ndim else Tensor(f"{node.name}/taken", shape, image.scale, image.zero_point, None)
    if len(steps) <= 1 and min(steps, default=1) > 0:
        begin, stride = [0] * len(shape), [1] * len(shape)
        begin[axis], stride[axis] = int(wanted[0]), int(min(steps, default=1))
        _take(writer, node, image, taken, begin, stride)
    else:
        options = schema.GatherOptionsT()
        options.axis = order.index(axis)
        where = writer.constant(f"{node.name}/indices", wanted.astype(np.int32))
        writer.operator("GATHER", [writer.activation(image, order), where], [writer.activation(taken, order)], options)
    if taken is not result:
        after = layout.reshaped(shape, order, result.shape)
        assert after is not None  # an axis of one element can always go
        writer.reshape(writer.activation(taken, order), writer.activation(result, after))


def _take(
    writer: Writer, node: Node, image: Tensor, result: Tensor, begin: Sequence[int], stride: Sequence[int]
) -> None:
    order = writer.order(image)
    first = np.array(layout.laid(begin, order), np.int32)
    shape = layout.laid(result.shape, order)
    start = writer.constant(f"{result.name}/begin", first)
    inputs, results = [writer.activation(image, order), start], [writer.activation(result, order)]
    if set(stride) == {1}:
        size = writer.constant(f"{result.name}/size", np.array(shape, np.int32))
        writer.operator("SLICE", [*inputs, size], results, schema.SliceOptionsT())
        return
    step = np.array(layout.laid(stride, order), np.int32)
    end = first + (np.array(shape, np.int32) - 1) * step + 1
    places = [writer.constant(f"{result.name}/end", end), writer.constant(f"{result.name}/stride", step)]
    writer.operator("STRIDED_SLICE", [*inputs, *places], results, schema.StridedSliceOptionsT())
