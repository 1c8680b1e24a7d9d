"""Integers that go elsewhere as they are: joined, divided, reshaped, turned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...graph.qdq import Node, Tensor
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
    first, shape, steps = (layout.laid(each, order) for each in (begin, result.shape, stride))
    source, taken = writer.activation(image, order), writer.activation(result, order)
    if hands := _hands(layout.laid(image.shape, order), first, shape, steps):
        dealt = _dealt(writer, image, order, hands)
        parts = [*writer.subgraph.tensors[dealt].shape]
        parts[-2] = 1
        hand = writer.intermediate(result, f"{result.name}/hand", tuple(parts))
        _slice(writer, result, dealt, hand, (*[0] * (len(parts) - 2), first[-1], 0))
        writer.reshape(hand, taken)
    elif set(steps) == {1}:
        _slice(writer, result, source, taken, first)
    else:
        end = np.array(first, np.int32) + (np.array(shape, np.int32) - 1) * np.array(steps, np.int32) + 1
        ends = {"begin": np.array(first, np.int32), "end": end, "stride": np.array(steps, np.int32)}
        places = [writer.constant(f"{result.name}/{name}", each) for name, each in ends.items()]
        writer.operator("STRIDED_SLICE", [source, *places], [taken], schema.StridedSliceOptionsT())


def _slice(writer: Writer, result: Tensor, source: int, taken: int, first: Sequence[int]) -> None:
    """As many elements as `taken` has, from `first` on."""
    size = np.array(writer.subgraph.tensors[taken].shape, np.int32)
    places = {"begin": np.array(first, np.int32), "size": size}
    where = [writer.constant(f"{result.name}/{name}", each) for name, each in places.items()]
    writer.operator("SLICE", [source, *where], [taken], schema.SliceOptionsT())


def _hands(before: Sequence[int], first: Sequence[int], shape: Sequence[int], steps: Sequence[int]) -> int:
    """How many share the last axis, if one gets every so many-th element of it, or one of so many; 0: it is not so."""
    if len(before) < 2 or set(steps[:-1]) - {1} or tuple(before[:-1]) != tuple(shape[:-1]):
        return 0
    if steps[-1] > 1 and first[-1] < steps[-1] and shape[-1] * steps[-1] == before[-1]:
        return steps[-1]
    return before[-1] if shape[-1] == 1 < before[-1] else 0


def _dealt(writer: Writer, image: Tensor, order: layout.Order, hands: int) -> int:
    """The last axis, dealt like cards: a hand lies together; once for all that take one.

    To pick single bytes is slow: in FastestDet the thirteen shuffles took half of the time.
    """
    name = f"{image.name}/dealt to {hands}"
    if (name, order) not in writer.indices:
        *outer, cards = layout.laid(image.shape, order)
        source = writer.activation(image, order)
        if cards > hands:
            parted = writer.intermediate(image, f"{name}/parted", (*outer, cards // hands, hands))
            writer.reshape(source, parted)
            source, outer = parted, [*outer, cards // hands]
        turned = (*outer[:-1], hands, outer[-1])
        last = len(turned) - 1
        perm = writer.constant(f"{name}/perm", np.array([*range(last - 1), last, last - 1], np.int32))
        writer.indices[name, order] = writer.intermediate(image, name, turned)
        writer.operator("TRANSPOSE", [source, perm], [writer.indices[name, order]], schema.TransposeOptionsT())
    return writer.indices[name, order]
