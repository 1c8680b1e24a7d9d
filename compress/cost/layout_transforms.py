"""What a back end moves that the graph does not tell: tensors turned into the order that a kernel wants, and padding.

ONNX has features as N x C x H x W. LiteRT's kernels want the channels last, and so do the convolutions of integers in
ONNX Runtime; what goes from one of them to the next stays as it is. A channel shuffle, which divides and joins
channels, breaks into that: LiteRT's file says it in the order that the tensors have, turned only where it must be
(tflite/layout.py), while ONNX Runtime reshapes in ONNX's own order and turns what goes in and what comes out.

What moving costs depends on how much lies together: a *run* is copied at once, so it counts as a place, and what is in
it as channels.

Imprecise: ONNX Runtime's optimiser weighs where to turn; here it turns at the latest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import onnx

from vedette.devices.cost_model import Kind, Precision, Work

from ..export.tflite import layout
from ..export.tflite.layout import Order, Shape
from .operator_classes import attribute

RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
CUTS = ("Split", "Slice", "Gather")
_SAME = ("QuantizeLinear", "DequantizeLinear", "Identity", "Clip", "Relu")
_BESIDE = ("Add", "Sub", "Mul", "Div", "LeakyRelu", "Sigmoid", "Tanh", "Concat", *CUTS)  # take what order there is


class Orders:
    """Follows the order in which each tensor lies, node by node.

    Args:
        shapes: of each tensor, in ONNX
        backend: `onnx` or `tflite`
        last: whether kernels want the channels last
    """

    def __init__(self, shapes: Mapping[str, Shape], backend: str, last: bool) -> None:
        self.shapes, self.backend, self.last = shapes, backend, last
        self.there: dict[str, list[Order]] = {}  # the orders that a tensor is there in, the first before all
        self.images: set[str] = set()
        self.roots: dict[str, str] = {}  # of what is the same integers under another name

    def given(self, name: str) -> None:
        """An input, N x H x W x C, or a float image, which takes what order is wanted."""
        shape = self.shapes[name]
        self.images.add(name)
        if len(shape) == 4 and shape[-1] <= 4 < shape[1]:
            self.there[name] = [_plain(shape)]

    def before(self, node: onnx.NodeProto, data: Sequence[str]) -> list[Work]:
        """What is turned for `node`, which reads the activations `data`; its results have their order afterwards."""
        if node.op_type in _SAME:
            self.roots[node.output[0]] = self._root(data[0])
            return []
        if not all(prod(self.shapes.get(name, (0,))) for name in (*data, node.output[0])):
            return []  # of a shape that nobody knows, no order is known either
        orders = [self.order(name) for name in data]
        result = self.shapes[node.output[0]]
        wanted, after = self._wish(orders[0]), self._wish(layout.usual(len(result)))
        if node.op_type == "Transpose" and self.last:
            perm = attribute(node, "perm", list(reversed(range(len(result)))))
            if self.backend == "tflite" or data[0] in self.images:
                wanted, after = orders[0], layout.transposed(orders[0], perm)
            else:
                wanted, after = _plain(result), _plain(result)
        elif node.op_type in RESHAPES:
            source = self.shapes[data[0]]
            found = layout.reshaped(source, orders[0], result) if self.backend == "tflite" else None
            wanted, after = (orders[0], found) if found is not None else (_plain(source), _plain(result))
        elif node.op_type in _BESIDE:
            firsts = [order for order in orders if order == _plain(order)]
            wanted = firsts[0] if self.backend == "onnx" and firsts else orders[0]
            after = wanted
            if len(result) < len(wanted):  # Gather takes an axis away
                shape = list(self.shapes[data[0]])
                shape[attribute(node, "axis", 0) % len(shape)] = 1
                after = layout.reshaped(tuple(shape), wanted, result) or _plain(result)
        elif len(self.shapes[data[0]]) == 4:
            wanted = self._wish(layout.usual(4))
        for name in node.output:
            self.there[name] = [after]
        return [work for name in data if len(self.shapes[name]) == len(wanted) for work in self._turn(name, wanted)]

    def end(self, name: str) -> list[Work]:
        """What is turned for an output, which has ONNX's order."""
        return self._turn(name, _plain(self.shapes[name])) if prod(self.shapes.get(name, (0,))) else []

    def cuts(self, node: onnx.NodeProto, precision: Precision) -> Iterator[Work]:
        """What each result of a Split, Slice or Gather takes, and what is turned that it may lie together."""
        name, source = node.input[0], self.shapes[node.input[0]]
        for result in (self.shapes[each] for each in node.output):
            axis = attribute(node, "axis", 0) % len(source)
            if node.op_type == "Slice":
                changed = [each for each, pair in enumerate(zip(source, result, strict=True)) if pair[0] != pair[1]]
                axis = changed[0] if changed else 0
            order = self.order(name)
            taken = prod(result) * source[axis] // max(prod(source), 1)
            behind = order[order.index(axis) + 1 :]
            if self.backend == "tflite" and order[-1] == axis and taken == 1 < source[axis]:
                yield from self._dealt(name, precision)
                behind = order[-2:-1]
            yield moved("split", precision, prod(result), taken * prod(source[each] for each in behind))

    def _dealt(self, name: str, precision: Precision) -> Iterator[Work]:
        """LiteRT picks no single bytes: the last axis is turned with the one before it, once for all that take one."""
        dealt = f"{self._root(name)}/dealt"
        if dealt not in self.there:
            self.there[dealt] = []
            yield moved("deal", precision, prod(self.shapes[name]), 1)

    def order(self, name: str) -> Order:
        """That in which a tensor was made."""
        return self.there.get(self._root(name), [self._wish(layout.usual(len(self.shapes[name])))])[0]

    def _root(self, name: str) -> str:
        return self.roots.get(name, name)

    def _wish(self, order: Order) -> Order:
        return order if self.last else _plain(order)

    def _turn(self, name: str, wanted: Order) -> list[Work]:
        shape, there = self.shapes[name], self.there.setdefault(self._root(name), [self.order(name)])
        if wanted in there:
            return []
        there.append(wanted)
        return [turned(shape, there[0], wanted)] if layout.moves(shape, there[0], wanted) else []


def turned(shape: Shape, before: Order, after: Order, precision: Precision = "int8") -> Work:
    """One order to another."""
    left, right = ([axis for axis in order if shape[axis] != 1] for order in (before, after))
    run = 1
    while left and right and left[-1] == right[-1]:
        run *= shape[left.pop()]
        right.pop()
    return moved("transpose", precision, prod(shape), run)


def moved(kind: Kind, precision: Precision, elements: int, run: int) -> Work:
    return Work(kind, precision, elements // max(run, 1), run, reads=elements)


def padding(node: onnx.NodeProto, shape: Shape, precision: Precision) -> list[Work]:
    """What LiteRT pads before a pool, which knows no other padding by itself than SAME.

    What stands before a convolution is fused with it and costs nothing.
    """
    pads, strides = attribute(node, "pads", [0] * 4), attribute(node, "strides", [1, 1])
    if len(shape) != 4 or not any(pads):
        return []
    same = []
    for extent, size, step in zip(shape[2:], attribute(node, "kernel_shape", []), strides, strict=True):
        needed = max((-(-extent // step) - 1) * step + size - extent, 0)
        same.append((needed // 2, needed - needed // 2))
    top, left, bottom, right = pads
    if same == [(top, bottom), (left, right)]:
        return []
    high, wide = shape[2] + top + bottom, shape[3] + left + right
    return [Work("pad", precision, high, wide * shape[1], reads=prod(shape))]


def patches(node: onnx.NodeProto, shape: Shape, result: Shape, inside: bool) -> int:
    """Elements that a pool looks at; those outside the image count unless it leaves them out (`inside`)."""
    kernel, pads = attribute(node, "kernel_shape", [1, 1]), attribute(node, "pads", [0] * 4)
    strides = attribute(node, "strides", [1, 1])
    taps = 1
    for extent, made, size, step, pad in zip(shape[2:], result[2:], kernel, strides, pads, strict=False):
        starts = [place * step - pad for place in range(made)]
        reach = [min(start + size, extent) - max(start, 0) if inside else size for start in starts]
        taps *= sum(reach)
    return taps * result[1]


def _plain(like: Sequence[int]) -> Order:
    return tuple(range(len(like)))
