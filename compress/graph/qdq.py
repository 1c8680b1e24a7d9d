"""View of a quantized ONNX graph without its QuantizeLinear and DequantizeLinear nodes.

In a QDQ graph the operators are float; the nodes around them hold the quantization parameters. Reading the graph into
`QuantizedTensor`s with scale and zero point and `QuantizedNode`s between them gives what an integer file format needs.
This module computes nothing: all numbers are those that ONNX Runtime uses.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from vedette.runtime.errors import Problem

from .editing import read_attributes, read_initializers, read_shapes

COPYING_OPERATORS = (
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
"""Operators whose output has the scale and zero point of their input."""


class QuantizedTensor(msgspec.Struct, frozen=True, eq=False):
    """An integer tensor: real value = scale * (integer - zero_point)."""

    name: str
    shape: tuple[int, ...]
    """As in ONNX: N x C x H x W for images and features."""
    scale: NDArray[np.float32]
    """One number, or one per output channel; empty for a constant without quantization (axes, sizes)."""
    zero_point: NDArray[np.int64]
    """As many numbers as `scale`."""
    data: NDArray[Any] | None
    """The integers of a constant; None for an activation."""


class QuantizedNode(msgspec.Struct, frozen=True, eq=False):
    """An operator between integer tensors."""

    op_type: str
    name: str
    inputs: tuple[QuantizedTensor | None, ...]
    """None stands for an omitted optional input."""
    outputs: tuple[QuantizedTensor, ...]
    attributes: dict[str, Any]


class QDQGraph(msgspec.Struct, frozen=True, eq=False):
    """An integer graph."""

    inputs: tuple[QuantizedTensor, ...]
    outputs: tuple[QuantizedTensor, ...]
    nodes: tuple[QuantizedNode, ...]
    """In topological order."""


def read_qdq_graph(model: onnx.ModelProto) -> QDQGraph:
    """Read the integer graph of a QDQ model.

    Args:
        model: QDQ graph with integer inputs and outputs

    Raises:
        Problem: a Conv or Gemm has float weights
    """
    reader = _QDQReader(model)
    graph = model.graph
    nodes = [node for node in graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    return QDQGraph(
        nodes=tuple(reader.read_node(node) for node in nodes),
        inputs=tuple(reader.read_tensor(value.name) for value in graph.input),
        outputs=tuple(reader.read_tensor(value.name) for value in graph.output),
    )


class _QDQReader:
    """Maps float tensor names to the integer tensors beside them and to their quantization parameters."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        self.constants = read_initializers(graph)
        self.shapes = read_shapes(graph)

        # A float tensor stands for the integers that it was dequantized from or that it is quantized to.
        self.integer_names: dict[str, str] = {}
        self.parameter_names: dict[str, tuple[str, str]] = {}
        for node in graph.node:
            if node.op_type == "DequantizeLinear":
                self.integer_names[node.output[0]] = node.input[0]
                self.parameter_names[node.input[0]] = (node.input[1], node.input[2])
            elif node.op_type == "QuantizeLinear":
                self.integer_names[node.input[0]] = node.output[0]
                self.parameter_names[node.output[0]] = (node.input[1], node.input[2])
        for node in graph.node:
            if node.op_type in COPYING_OPERATORS:
                source, result = self._integer_name(node.input[0]), self._integer_name(node.output[0])
                if source in self.parameter_names:
                    self.parameter_names.setdefault(result, self.parameter_names[source])
                elif result in self.parameter_names:
                    self.parameter_names[source] = self.parameter_names[result]

    def _integer_name(self, name: str) -> str:
        return self.integer_names.get(name, name)

    def read_tensor(self, name: str) -> QuantizedTensor:
        """The integer tensor that the float or integer tensor `name` stands for."""
        name = self._integer_name(name)
        scale, zero_point = np.zeros(0, np.float32), np.zeros(0, np.int64)
        if name in self.parameter_names:
            scale, zero_point = (np.atleast_1d(self.constants[each]) for each in self.parameter_names[name])
        data = self.constants.get(name)
        return QuantizedTensor(name, self.shapes[name], scale.astype(np.float32), zero_point.astype(np.int64), data)

    def read_node(self, node: onnx.NodeProto) -> QuantizedNode:
        """The integer operator of a float operator.

        Raises:
            Problem: a Conv or Gemm has float weights
        """
        weights = self.constants.get(node.input[1]) if node.op_type in ("Conv", "Gemm") else None
        if weights is not None and weights.dtype == np.float32:
            hint = "an integer file cannot hold a float layer: set float_layers = 0 in the recipe"
            raise Problem(f"node {node.name!r} ({node.input[1]}) is float among integers", hint=hint)
        return QuantizedNode(
            op_type=node.op_type,
            name=node.name or node.output[0],
            inputs=tuple(self.read_tensor(name) if name else None for name in node.input),
            outputs=tuple(self.read_tensor(name) for name in node.output),
            attributes=read_attributes(node),
        )
