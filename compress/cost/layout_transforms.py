"""Data movements of a back end that the graph does not show: layout transposes and padding.

ONNX stores features as N x C x H x W. The kernels of LiteRT, and the int8 convolutions of ONNX Runtime, take channels
last; a tensor that passes from one such kernel to the next stays in that layout. A channel shuffle, which splits and
joins channels, interrupts this: the LiteRT file expresses it in the layout that the tensors have, with transposes only
where they are needed (export/tflite/layout.py), while ONNX Runtime reshapes in the ONNX layout and transposes the input
and the output.

The cost of a movement depends on the length of the contiguous runs: a run is copied at once, so each run counts as one
position and its elements as channels.

Imprecise: the optimizer of ONNX Runtime chooses where to transpose; here the transpose is as late as possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import onnx

from vedette.devices.cost_model import OperatorClass, OperatorCount, Precision

from ..export.tflite import layout
from ..export.tflite.layout import AxisOrder, Shape
from ..graph.editing import read_attributes

RESHAPING_OPERATORS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
SLICING_OPERATORS = ("Split", "Slice", "Gather")
_LAYOUT_PRESERVING = ("QuantizeLinear", "DequantizeLinear", "Identity", "Clip", "Relu")
# Operators that run in the layout of their inputs.
_LAYOUT_AGNOSTIC = ("Add", "Sub", "Mul", "Div", "LeakyRelu", "Sigmoid", "Tanh", "Concat", *SLICING_OPERATORS)


class LayoutTracker:
    """Tracks the layout of each tensor, node by node, and counts the transposes.

    Args:
        shapes: tensor name -> its shape in the ONNX graph
        backend: `onnx` or `tflite`
        channels_last: whether kernels take channels last
    """

    def __init__(self, shapes: Mapping[str, Shape], backend: str, channels_last: bool) -> None:
        self.shapes, self.backend, self.channels_last = shapes, backend, channels_last
        self.layouts: dict[str, list[AxisOrder]] = {}  # layouts in which a tensor exists, the original one first
        self.graph_inputs: set[str] = set()
        self.aliases: dict[str, str] = {}  # tensor -> an earlier tensor with the same elements in the same layout

    def add_graph_input(self, name: str) -> None:
        """Register an input: N x H x W x C, or a float image whose layout is free."""
        shape = self.shapes[name]
        self.graph_inputs.add(name)
        if len(shape) == 4 and shape[-1] <= 4 < shape[1]:
            self.layouts[name] = [_onnx_layout(shape)]

    def count_input_transposes(self, node: onnx.NodeProto, inputs: Sequence[str]) -> list[OperatorCount]:
        """The transposes that `node` needs for its activations `inputs`; registers the layout of its outputs."""
        if node.op_type in _LAYOUT_PRESERVING:
            self.aliases[node.output[0]] = self._resolve_alias(inputs[0])
            return []
        if not all(prod(self.shapes.get(name, (0,))) for name in (*inputs, node.output[0])):
            return []  # without a known shape there is no known layout
        layouts = [self.source_layout(name) for name in inputs]
        result = self.shapes[node.output[0]]
        required = self._preferred_layout(layouts[0])
        produced = self._preferred_layout(layout.default_order(len(result)))
        if node.op_type == "Transpose" and self.channels_last:
            permutation = read_attributes(node).get("perm", list(reversed(range(len(result)))))
            if self.backend == "tflite" or inputs[0] in self.graph_inputs:
                required, produced = layouts[0], layout.transpose_order(layouts[0], permutation)
            else:
                required, produced = _onnx_layout(result), _onnx_layout(result)
        elif node.op_type in RESHAPING_OPERATORS:
            source = self.shapes[inputs[0]]
            reshaped = layout.reshape_order(source, layouts[0], result) if self.backend == "tflite" else None
            if reshaped is not None:
                required, produced = layouts[0], reshaped
            else:
                required, produced = _onnx_layout(source), _onnx_layout(result)
        elif node.op_type in _LAYOUT_AGNOSTIC:
            in_onnx_layout = [order for order in layouts if order == _onnx_layout(order)]
            first = self._describe_slice(node, result)[2] if node.op_type in SLICING_OPERATORS else layouts[0]
            required = in_onnx_layout[0] if self.backend == "onnx" and in_onnx_layout else first
            produced = required
            if len(result) < len(required):  # Gather removes an axis
                shape = list(self.shapes[inputs[0]])
                shape[read_attributes(node).get("axis", 0) % len(shape)] = 1
                produced = layout.reshape_order(tuple(shape), required, result) or _onnx_layout(result)
        elif len(self.shapes[inputs[0]]) == 4:
            required = self._preferred_layout(layout.default_order(4))
        for name in node.output:
            self.layouts[name] = [produced]
        matching = [name for name in inputs if len(self.shapes[name]) == len(required)]
        return [transpose for name in matching for transpose in self._count_transposes(name, required)]

    def count_output_transposes(self, name: str) -> list[OperatorCount]:
        """The transposes of a graph output, which has the ONNX layout."""
        if not prod(self.shapes.get(name, (0,))):
            return []
        return self._count_transposes(name, _onnx_layout(self.shapes[name]))

    def count_slices(self, node: onnx.NodeProto, precision: Precision) -> Iterator[OperatorCount]:
        """The copy for each output of a Split, Slice or Gather, after the transpose that makes its runs contiguous."""
        name, source = node.input[0], self.shapes[node.input[0]]
        for result in (self.shapes[output] for output in node.output):
            axis, taken, order = self._describe_slice(node, result)
            inner_axes = order[order.index(axis) + 1 :]
            if self.backend == "tflite" and order[-1] == axis and taken == 1 < source[axis]:
                yield from self._count_deinterleaving(name, precision)
                inner_axes = order[-2:-1]
            yield count_copy("split", precision, prod(result), taken * prod(source[inner] for inner in inner_axes))

    def _describe_slice(self, node: onnx.NodeProto, result: Shape) -> tuple[int, int, AxisOrder]:
        """The axis of a Split, Slice or Gather with the output shape `result`, how many elements it takes there, and
        the layout in which it takes them.
        """
        source, order = self.shapes[node.input[0]], self.source_layout(node.input[0])
        axis = read_attributes(node).get("axis", 0) % len(source)
        if node.op_type == "Slice":
            pairs = enumerate(zip(source, result, strict=True))
            axis = next((index for index, (before, after) in pairs if before != after), 0)
        taken = prod(result) * source[axis] // max(prod(source), 1)
        if self.backend == "tflite" and order[-1] == axis and taken == 1 < source[axis]:
            order = layout.order_for_interleaved_slices(source, order)
        return axis, taken, order

    def _count_deinterleaving(self, name: str, precision: Precision) -> Iterator[OperatorCount]:
        """LiteRT gathers no single bytes: it transposes the last two axes, once for all slices of a tensor."""
        deinterleaved = f"{self._resolve_alias(name)}/deinterleaved"
        if deinterleaved not in self.layouts:
            self.layouts[deinterleaved] = []
            yield count_copy("deal", precision, prod(self.shapes[name]), 1)

    def source_layout(self, name: str) -> AxisOrder:
        """The layout in which the producer writes a tensor."""
        return self.layouts.get(
            self._resolve_alias(name), [self._preferred_layout(layout.default_order(len(self.shapes[name])))]
        )[0]

    def _resolve_alias(self, name: str) -> str:
        return self.aliases.get(name, name)

    def _preferred_layout(self, order: AxisOrder) -> AxisOrder:
        return order if self.channels_last else _onnx_layout(order)

    def _count_transposes(self, name: str, required: AxisOrder) -> list[OperatorCount]:
        shape = self.shapes[name]
        existing = self.layouts.setdefault(self._resolve_alias(name), [self.source_layout(name)])
        if required in existing:
            return []
        existing.append(required)
        return (
            [count_transpose(shape, existing[0], required)]
            if layout.changes_bytes(shape, existing[0], required)
            else []
        )


def count_transpose(shape: Shape, before: AxisOrder, after: AxisOrder, precision: Precision = "int8") -> OperatorCount:
    """A transpose from one layout to another.

    Args:
        shape: shape of the tensor in the ONNX graph
        before: axes in their order in memory, the outermost first
        after: the same after the transpose
        precision: precision of the elements
    """
    left, right = ([axis for axis in order if shape[axis] != 1] for order in (before, after))
    run = 1
    while left and right and left[-1] == right[-1]:
        run *= shape[left.pop()]
        right.pop()
    return count_copy("transpose", precision, prod(shape), run)


def count_copy(operator_class: OperatorClass, precision: Precision, elements: int, run: int) -> OperatorCount:
    """A copy of `elements` elements in contiguous runs of `run` elements."""
    return OperatorCount(operator_class, precision, elements // max(run, 1), run, reads=elements)


def count_pool_padding(node: onnx.NodeProto, shape: Shape, result: Shape, precision: Precision) -> list[OperatorCount]:
    """The explicit padding before a pool in LiteRT, whose pools support only SAME padding.

    Padding before a convolution is fused and costs nothing.

    Args:
        node: the pool
        shape: shape of its input, N x C x H x W
        result: shape of its output
        precision: precision of the elements
    """
    attributes = read_attributes(node)
    pads, strides = attributes.get("pads", [0] * 4), attributes.get("strides", [1, 1])
    if len(shape) != 4 or not any(pads):
        return []
    same, padded = [], []
    for extent, outputs, size, step, before in zip(
        shape[2:], result[2:], attributes.get("kernel_shape", []), strides, pads[:2], strict=True
    ):
        needed = max((-(-extent // step) - 1) * step + size - extent, 0)
        same.append((needed // 2, needed - needed // 2))
        padded.append(max((outputs - 1) * step + size, extent + before))
    top, left, bottom, right = pads
    if same == [(top, bottom), (left, right)] or tuple(padded) == shape[2:]:
        return []
    height, width = padded
    return [OperatorCount("pad", precision, height, width * shape[1], reads=prod(shape))]


def count_pool_reads(node: onnx.NodeProto, shape: Shape, result: Shape, skips_padding: bool) -> int:
    """Elements that a pool reads.

    Args:
        node: the pool
        shape: shape of its input, N x C x H x W
        result: shape of its output
        skips_padding: whether the back end skips elements outside the image
    """
    attributes = read_attributes(node)
    kernel, pads = attributes.get("kernel_shape", [1, 1]), attributes.get("pads", [0] * 4)
    strides = attributes.get("strides", [1, 1])
    taps = 1
    for extent, outputs, size, step, pad in zip(shape[2:], result[2:], kernel, strides, pads, strict=False):
        starts = [position * step - pad for position in range(outputs)]
        spans = [min(start + size, extent) - max(start, 0) if skips_padding else size for start in starts]
        taps *= sum(spans)
    return taps * result[1]


def _onnx_layout(shape: Sequence[int]) -> AxisOrder:
    """The axes in the order of the ONNX graph."""
    return tuple(range(len(shape)))
