"""A quantised ONNX graph, read through its QuantizeLinear / DequantizeLinear nodes.

In a QDQ graph the operators are float and their integer meaning hides in the nodes around them. Reading it once into
`Tensor`s with scale and zero point and `Node`s between them gives what an integer file format needs, and what a person
means by "the quantised graph". Nothing is computed here: the numbers are those that ONNX Runtime uses.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from vedette.runtime.errors import Problem

_COPIES = (
    "Transpose",
    "ReduceMax",
    "MaxPool",
    "Resize",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Gather",
    "SpaceToDepth",
)


class Tensor(msgspec.Struct, frozen=True, eq=False):
    """An integer tensor: real value = scale * (integer - zero_point)."""

    name: str
    shape: tuple[int, ...]
    """As in ONNX: N x C x H x W for images and features."""
    scale: NDArray[np.float32]
    """One number, or one per output channel; empty where the tensor is a plain constant (axes, sizes)."""
    zero_point: NDArray[np.int64]
    data: NDArray[Any] | None
    """The integers of a constant, None for an activation."""


class Node(msgspec.Struct, frozen=True, eq=False):
    """An operator between integer tensors."""

    kind: str
    name: str
    inputs: tuple[Tensor | None, ...]
    """None where an optional input is left out."""
    outputs: tuple[Tensor, ...]
    attributes: dict[str, Any]


class Graph(msgspec.Struct, frozen=True, eq=False):
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    """In an order in which they can be run."""


def read(model: onnx.ModelProto) -> Graph:
    """The integer graph of a QDQ model whose inputs and outputs are integers."""
    reader = _Reader(model)
    graph = model.graph
    nodes = tuple(reader.node(n) for n in graph.node if n.op_type not in ("QuantizeLinear", "DequantizeLinear"))
    return Graph(
        inputs=tuple(reader.tensor(value.name) for value in graph.input),
        outputs=tuple(reader.tensor(value.name) for value in graph.output),
        nodes=nodes,
    )


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        self.constants = {value.name: numpy_helper.to_array(value) for value in inferred.initializer}
        self.shapes: dict[str, tuple[int, ...]] = {name: data.shape for name, data in self.constants.items()}
        for value in (*inferred.input, *inferred.output, *inferred.value_info):
            self.shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)

        # A float name stands for the integers beside it: those that it was made from, or those that it becomes.
        self.integers: dict[str, str] = {}
        self.parameters: dict[str, tuple[str, str]] = {}
        for node in inferred.node:
            if node.op_type == "DequantizeLinear":
                self.integers[node.output[0]] = node.input[0]
                self.parameters[node.input[0]] = (node.input[1], node.input[2])
            elif node.op_type == "QuantizeLinear":
                self.integers[node.input[0]] = node.output[0]
                self.parameters[node.output[0]] = (node.input[1], node.input[2])
        for node in inferred.node:  # these hand the integers on as they are
            if node.op_type in _COPIES:
                source, result = self._integer(node.input[0]), self._integer(node.output[0])
                if source in self.parameters:
                    self.parameters.setdefault(result, self.parameters[source])
                elif result in self.parameters:
                    self.parameters[source] = self.parameters[result]

    def _integer(self, name: str) -> str:
        return self.integers.get(name, name)

    def tensor(self, name: str) -> Tensor:
        name = self._integer(name)
        scale, zero_point = np.zeros(0, np.float32), np.zeros(0, np.int64)
        if name in self.parameters:
            scale, zero_point = (np.atleast_1d(self.constants[each]) for each in self.parameters[name])
        data = self.constants.get(name)
        return Tensor(name, self.shapes[name], scale.astype(np.float32), zero_point.astype(np.int64), data)

    def node(self, node: onnx.NodeProto) -> Node:
        weights = self.constants.get(node.input[1]) if node.op_type in ("Conv", "Gemm") else None
        if weights is not None and weights.dtype == np.float32:
            hint = "an integer file cannot hold it: float_layers = 0 in the recipe"
            raise Problem(f"node {node.name!r} ({node.input[1]}) is float among integers", hint=hint)
        return Node(
            kind=node.op_type,
            name=node.name or node.output[0],
            inputs=tuple(self.tensor(name) if name else None for name in node.input),
            outputs=tuple(self.tensor(name) for name in node.output),
            attributes={a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
        )
