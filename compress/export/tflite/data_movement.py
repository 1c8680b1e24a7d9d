"""Writes operators that copy integers unchanged: concatenation, reshape, transpose, slice, split, gather."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...graph.qdq import QuantizedNode, QuantizedTensor
from . import layout
from .operands import constant_data, raise_unsupported, read_integers, require_tensor
from .writer import SubgraphWriter


def write_concat(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Concat as CONCATENATION, which copies and so requires one scale and zero point."""
    images, result = [require_tensor(tensor) for tensor in node.inputs], node.outputs[0]
    if any(image.data is not None for image in images):
        raise_unsupported(node, "one of its inputs is a constant")
    if not all(image.scale == result.scale and image.zero_point == result.zero_point for image in images):
        raise_unsupported(node, "its inputs and its output have more than one scale")
    order = writer.current_order(images[0])
    options = schema.ConcatenationOptionsT()
    options.axis = order.index(node.attributes["axis"] % len(result.shape))
    indices = [writer.add_activation(image, order) for image in images]
    writer.add_operator("CONCATENATION", indices, [writer.add_activation(result, order)], options)


def write_transpose_as_view(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Transpose as another order of the same bytes; they are moved only when an operator needs them in place."""
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    perm = node.attributes.get("perm", tuple(reversed(range(len(image.shape)))))
    writer.alias_tensor(result, image, layout.transpose_order(writer.current_order(image), perm))


def write_reshape(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Reshape, Flatten, Squeeze or Unsqueeze as RESHAPE to the known shape of the output."""
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    if 0 in result.shape or np.prod(image.shape) != np.prod(result.shape):
        raise_unsupported(node, "the shape of its output is only known at run time")
    before = writer.current_order(image)
    after = layout.reshape_order(image.shape, before, result.shape)
    if after is None:
        before, after = tuple(range(len(image.shape))), tuple(range(len(result.shape)))
    writer.add_reshape(writer.add_activation(image, before), writer.add_activation(result, after))


def write_slice(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Slice as SLICE or STRIDED_SLICE."""
    image, result = require_tensor(node.inputs[0]), node.outputs[0]
    rank = len(image.shape)
    starts, ends = read_integers(node, 1, "starts") or [], read_integers(node, 2, "ends") or []
    axes = read_integers(node, 3, "axes") or list(range(len(starts)))
    steps = read_integers(node, 4, "steps") or [1] * len(starts)
    begin, stride = [0] * rank, [1] * rank
    for axis, start, _, step in zip(axes, starts, ends, steps, strict=True):
        extent = image.shape[axis]
        if step < 1:
            raise_unsupported(node, "it has a negative step")
        begin[axis], stride[axis] = min(start + extent if start < 0 else start, extent), step
    _write_strided_slice(writer, image, result, begin, stride)


def write_split(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Split as one SLICE per output."""
    image = require_tensor(node.inputs[0])
    axis = node.attributes.get("axis", 0) % len(image.shape)
    begin = [0] * len(image.shape)
    for result in node.outputs:
        _write_strided_slice(writer, image, result, begin, [1] * len(image.shape))
        begin[axis] += result.shape[axis]


def write_space_to_depth(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """SpaceToDepth as SPACE_TO_DEPTH."""
    options = schema.SpaceToDepthOptionsT()
    options.blockSize = node.attributes["blocksize"]
    inputs, outputs = [writer.add_activation(require_tensor(node.inputs[0]))], [writer.add_activation(node.outputs[0])]
    writer.add_operator("SPACE_TO_DEPTH", inputs, outputs, options)


def write_gather(writer: SubgraphWriter, node: QuantizedNode) -> None:
    """Gather with constant indices as GATHER, or as a slice if the indices are evenly spaced."""
    image, index_tensor, result = require_tensor(node.inputs[0]), require_tensor(node.inputs[1]), node.outputs[0]
    if index_tensor.data is None or image.data is not None or index_tensor.data.ndim > 1:
        raise_unsupported(node, "only constant indices along one axis are supported")
    axis = node.attributes.get("axis", 0) % len(image.shape)
    indices = constant_data(index_tensor).ravel() % image.shape[axis]
    steps = set(np.diff(indices).tolist())
    shape = tuple(len(indices) if number == axis else extent for number, extent in enumerate(image.shape))
    gathered = result
    if not index_tensor.data.ndim:  # a scalar index removes the axis
        gathered = QuantizedTensor(f"{node.name}/taken", shape, image.scale, image.zero_point, None)
    if len(steps) <= 1 and min(steps, default=1) > 0:
        begin, stride = [0] * len(shape), [1] * len(shape)
        begin[axis], stride[axis] = int(indices[0]), int(min(steps, default=1))
        _write_strided_slice(writer, image, gathered, begin, stride)
    else:
        order = writer.current_order(image)
        options = schema.GatherOptionsT()
        options.axis = order.index(axis)
        constant = writer.add_constant(f"{node.name}/indices", indices.astype(np.int32))
        inputs = [writer.add_activation(image, order), constant]
        writer.add_operator("GATHER", inputs, [writer.add_activation(gathered, order)], options)
    if gathered is not result:
        order = writer.current_order(gathered)
        after = layout.reshape_order(shape, order, result.shape)
        assert after is not None  # removing an axis of size 1 never moves bytes
        writer.add_reshape(writer.add_activation(gathered, order), writer.add_activation(result, after))


def _write_strided_slice(
    writer: SubgraphWriter,
    image: QuantizedTensor,
    result: QuantizedTensor,
    begin: Sequence[int],
    stride: Sequence[int],
) -> None:
    """Slice of `image` from `begin` in steps of `stride`, one number per ONNX axis, with the shape of `result`."""
    order = writer.current_order(image)
    axis = max(order, key=lambda each: (stride[each], order.index(each)))
    slices = _count_interleaved_slices(image.shape, begin, result.shape, stride, axis)
    if slices and axis == order[-1]:
        order = layout.order_for_interleaved_slices(image.shape, order)
    first, shape, steps = (layout.permute_axes(values, order) for values in (begin, result.shape, stride))
    source, target = writer.add_activation(image, order), writer.add_activation(result, order)
    place = order.index(axis)
    if slices and place == len(order) - 1:
        deinterleaved = _deinterleave_last_axis(writer, image, order, slices)
        _write_one_slice(writer, result, deinterleaved, -2, first[place], target)
    elif set(steps) == {1}:
        write_contiguous_slice(writer, result.name, source, target, first)
    elif slices:
        split_shape = (*shape[: place + 1], slices, *shape[place + 1 :])
        split = writer.add_intermediate(image, f"{result.name}/parted", split_shape)
        writer.add_reshape(source, split)
        _write_one_slice(writer, result, split, place + 1, first[place], target)
    else:
        end = np.array(first, np.int32) + (np.array(shape, np.int32) - 1) * np.array(steps, np.int32) + 1
        bounds = {"begin": np.array(first, np.int32), "end": end, "stride": np.array(steps, np.int32)}
        constants = [writer.add_constant(f"{result.name}/{name}", values) for name, values in bounds.items()]
        writer.add_operator("STRIDED_SLICE", [source, *constants], [target], schema.StridedSliceOptionsT())


def _write_one_slice(
    writer: SubgraphWriter, result: QuantizedTensor, source: int, axis: int, number: int, target: int
) -> None:
    """Element `number` of an axis of the tensor `source`, as the tensor `target`."""
    shape = [*writer.subgraph.tensors[source].shape]
    position = [0] * len(shape)
    shape[axis], position[axis] = 1, number
    hand = writer.add_intermediate(result, f"{result.name}/hand", tuple(shape))
    write_contiguous_slice(writer, result.name, source, hand, position)
    writer.add_reshape(hand, target)


def write_contiguous_slice(writer: SubgraphWriter, name: str, source: int, target: int, first: Sequence[int]) -> None:
    """SLICE of the tensor `source` from `first` on, shaped as the tensor `target`; `name` begins its constants."""
    size = np.array(writer.subgraph.tensors[target].shape, np.int32)
    bounds = {"begin": np.array(first, np.int32), "size": size}
    constants = [writer.add_constant(f"{name}/{bound}", values) for bound, values in bounds.items()]
    writer.add_operator("SLICE", [source, *constants], [target], schema.SliceOptionsT())


def _count_interleaved_slices(
    before: Sequence[int], first: Sequence[int], shape: Sequence[int], steps: Sequence[int], axis: int
) -> int:
    """Number of slices that are interleaved on an axis if this slice is one of them, else 0.

    A slice is interleaved if it takes every n-th element of the axis, or a single one of its elements.
    """
    if len(before) < 2 or any(before[other] != shape[other] for other in range(len(before)) if other != axis):
        return 0
    if steps[axis] > 1 and first[axis] < steps[axis] and shape[axis] * steps[axis] == before[axis]:
        return steps[axis]
    return before[axis] if shape[axis] == 1 < before[axis] else 0


def _deinterleave_last_axis(
    writer: SubgraphWriter, image: QuantizedTensor, order: layout.AxisOrder, slices: int
) -> int:
    """Index of a tensor in which each interleaved slice of the last axis is contiguous.

    The transposition is written once for all slices. Copying single bytes instead is slow.
    """
    name = f"{image.name}/dealt to {slices}"  # tensor names are part of the built models
    if (name, order) not in writer.indices:
        *outer, length = layout.permute_axes(image.shape, order)
        source = writer.add_activation(image, order)
        if length > slices:
            split = writer.add_intermediate(image, f"{name}/parted", (*outer, length // slices, slices))
            writer.add_reshape(source, split)
            source, outer = split, [*outer, length // slices]
        shape = (*outer[:-1], slices, outer[-1])
        last = len(shape) - 1
        perm = writer.add_constant(f"{name}/perm", np.array([*range(last - 1), last, last - 1], np.int32))
        writer.indices[name, order] = writer.add_intermediate(image, name, shape)
        writer.add_operator("TRANSPOSE", [source, perm], [writer.indices[name, order]], schema.TransposeOptionsT())
    return writer.indices[name, order]
