"""A float ONNX graph as a torch module, so that what was exported can be trained further.

Everything after the export works on graphs: what is quantised is what was exported, and a model of somebody else comes
as a graph and nothing more. So training starts from the graph too. Each node is done by the torch function that means
the same; over one image it differs from ONNX Runtime by what the order of additions leaves (1e-5 of the largest value).

The graphs are made for one image; here any number goes through at once, so a shape that a graph has written down is
taken without its first dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from vedette.runtime.errors import Problem

LAYERS = ("Conv", "Gemm")  # what has weights
CLIPS = ("Clip", "Relu")


class Node:
    """An operator, its attributes read."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.kind = node.op_type
        self.name = node.name or node.output[0]
        self.inputs = list(node.input)
        self.output = node.output[0]
        self.attributes: dict[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


class Network(nn.Module):
    """N x 3 x H x W, normalised -> the tensors that are asked for."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Reads `model`, whose one input is an image.

        Raises:
            Problem: it holds an operator that has no counterpart here.
        """
        super().__init__()
        self.input = model.graph.input[0].name
        self.outputs = [value.name for value in model.graph.output]
        self.nodes = [Node(node) for node in model.graph.node]
        for node in self.nodes:
            if node.kind not in _OPERATORS:
                hint = f"only its ranges can be taken: leave out what trains; known are {', '.join(sorted(_OPERATORS))}"
                raise Problem(f"node {node.name!r} is a {node.kind}, which cannot be trained here", hint=hint)
        learnt = {name for node in self.nodes if node.kind in LAYERS for name in node.inputs[1:3] if name}
        self.places: dict[str, int] = {}
        self.learnt = nn.ParameterList()
        self.constants: dict[str, Tensor] = {}
        for constant in model.graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(constant).copy())
            if constant.name in learnt:
                self.places[constant.name] = len(self.places)
                self.learnt.append(nn.Parameter(value))
            else:
                self.constants[constant.name] = value
        self._ends = {name: number for number, node in enumerate(self.nodes) for name in node.inputs}

    def parameter(self, name: str) -> nn.Parameter:
        """The weights or biases that the graph calls `name`."""
        found = self.learnt[self.places[name]]
        assert isinstance(found, nn.Parameter)
        return found

    def forward(self, image: Tensor, wanted: Sequence[str] | None = None) -> list[Tensor]:
        """The tensors `wanted`, or the outputs."""
        wanted = self.outputs if wanted is None else wanted
        values = {self.input: self.entered(image)}
        for number, node in enumerate(self.nodes):
            values[node.output] = self.done(node, values)
            self.forget(values, number, wanted)
        return [values[name] for name in wanted]

    def entered(self, image: Tensor) -> Tensor:
        """What becomes of the image before the first node sees it."""
        return image

    def done(self, node: Node, values: dict[str, Tensor]) -> Tensor:
        """What `node` makes of `values`."""
        return self.computed(node, [self.value(name, node, values) for name in node.inputs])

    def computed(self, node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
        return _OPERATORS[node.kind](node, inputs)

    def value(self, name: str, node: Node, values: dict[str, Tensor]) -> Tensor | None:
        """The tensor `name` as `node` reads it; None where it is left out."""
        if not name:
            return None
        if name in values:
            return values[name]
        if name in self.places:
            return self.parameter(name)
        return self.constants[name]

    def forget(self, values: dict[str, Tensor], number: int, wanted: Sequence[str] = ()) -> None:
        """Takes out of `values` what nobody reads after node `number`."""
        for name in (*self.nodes[number].inputs, self.nodes[number].output):
            if name in values and self._ends.get(name, -1) <= number and name not in wanted:
                del values[name]

    def written(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """`model`, the graph that this was read from, with what was learnt since."""
        renewed = onnx.ModelProto()
        renewed.CopyFrom(model)
        for constant in renewed.graph.initializer:
            if constant.name in self.places:
                value = self.parameter(constant.name).detach().numpy().astype(np.float32)
                constant.CopyFrom(numpy_helper.from_array(value, constant.name))
        return renewed


def together(
    exact: Network, other: Network, image: Tensor
) -> Iterator[tuple[Node, dict[str, Tensor], dict[str, Tensor], Tensor]]:
    """Goes through both networks, which have the same nodes, side by side.

    Yields before `other` does a node: the node, what the two have so far, and what `exact` made of it. What is changed
    in `other` meanwhile counts from that node on.
    """
    left, right = {exact.input: exact.entered(image)}, {other.input: other.entered(image)}
    for number, node in enumerate(exact.nodes):
        left[node.output] = exact.done(node, left)
        yield node, left, right, left[node.output]
        right[node.output] = other.done(node, right)
        exact.forget(left, number)
        other.forget(right, number)


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None  # the operators that call this have no optional input there
    return tensor


def _padded(node: Node, image: Tensor, value: float) -> Tensor:
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    return functional.pad(image, (left, right, top, bottom), value=value) if top | left | bottom | right else image


def _convolution(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    image, weight, bias = _given(inputs[0]), _given(inputs[1]), inputs[2] if len(inputs) > 2 else None
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    pads: Any = (top, left)
    if (top, left) != (bottom, right):
        image, pads = _padded(node, image, 0.0), 0
    stride, dilation = (tuple(node.attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    return functional.conv2d(image, weight, bias, stride, pads, dilation, node.attributes.get("group", 1))


def _gemm(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    left, right = _given(inputs[0]), _given(inputs[1])
    scales = {node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)}
    if node.attributes.get("transA", 0) or scales != {1.0}:
        raise Problem(f"node {node.name!r}: a Gemm with transA, alpha or beta cannot be trained here")
    product = left @ (right.T if node.attributes.get("transB", 0) else right)
    return product if len(inputs) < 3 or inputs[2] is None else product + inputs[2]


def _clip(_: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    low, high = ([*inputs[1:], None, None][place] for place in (0, 1))
    return torch.clamp(_given(inputs[0]), low, high)


def _axes(node: Node, inputs: Sequence[Tensor | None]) -> list[int]:
    given = _given(inputs[1]).tolist() if len(inputs) > 1 else node.attributes.get("axes")
    return [int(axis) for axis in given or range(1, _given(inputs[0]).ndim)]


def _reduced(by: Callable[..., Tensor]) -> Callable[[Node, Sequence[Tensor | None]], Tensor]:
    def operator(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
        return by(_given(inputs[0]), dim=_axes(node, inputs), keepdim=bool(node.attributes.get("keepdims", 1)))

    return operator


def _resize(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    """Nearest neighbour by whole factors: there every rounding rule picks the same pixel."""
    image = _given(inputs[0])
    height, width = image.shape[-2:]
    factors = inputs[2] if len(inputs) > 2 else None
    if factors is not None and factors.numel():
        down, right = (float(each) for each in factors[-2:])
    else:
        down, right = (float(to) / size for to, size in zip(_given(inputs[3])[-2:], (height, width), strict=True))
    if node.attributes.get("mode", b"nearest") != b"nearest" or down % 1 or right % 1:
        raise Problem(f"node {node.name!r}: only a Resize to the nearest by a whole factor can be trained here")
    return image.repeat_interleave(int(down), dim=-2).repeat_interleave(int(right), dim=-1)


def _reshape(_: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    image, shape = _given(inputs[0]), [int(each) for each in _given(inputs[1])]
    shape = [image.shape[place] if size == 0 else size for place, size in enumerate(shape)]
    return image.reshape(image.shape[0], *shape[1:])


def _max_pool(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    image = _padded(node, _given(inputs[0]), float("-inf"))
    return functional.max_pool2d(image, node.attributes["kernel_shape"], node.attributes.get("strides", (1, 1)))


def _average_pool(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    image = _given(inputs[0])
    if any(node.attributes.get("pads", ())):
        raise Problem(f"node {node.name!r}: an AveragePool with padding cannot be trained here")
    return functional.avg_pool2d(image, node.attributes["kernel_shape"], node.attributes.get("strides", (1, 1)))


_OPERATORS: dict[str, Callable[[Node, Sequence[Tensor | None]], Tensor]] = {
    "Add": lambda _, inputs: _given(inputs[0]) + _given(inputs[1]),
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": lambda node, inputs: torch.cat([_given(each) for each in inputs], dim=node.attributes["axis"]),
    "Conv": _convolution,
    "Flatten": lambda _, inputs: _given(inputs[0]).flatten(1),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, inputs: _given(inputs[0]).mean(dim=(2, 3), keepdim=True),
    "Identity": lambda _, inputs: _given(inputs[0]),
    "MaxPool": _max_pool,
    "Mul": lambda _, inputs: _given(inputs[0]) * _given(inputs[1]),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "Relu": lambda _, inputs: functional.relu(_given(inputs[0])),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda _, inputs: torch.sigmoid(_given(inputs[0])),
    "Sub": lambda _, inputs: _given(inputs[0]) - _given(inputs[1]),
    "Transpose": lambda node, inputs: _given(inputs[0]).permute(*node.attributes["perm"]),
}
