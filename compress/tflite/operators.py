"""Which function says which ONNX operator in TFLite.

Each takes the writer and the node, adds what TFLite needs, and must compute the same integers as ONNX Runtime; the
tests hold each of them to that on random shapes and parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from ..qdq import Node
from . import convolutions, elements, movements, windows
from .operands import refuse
from .writer import Writer

OPERATORS: dict[str, Callable[[Writer, Node], None]] = {
    "Add": elements.add,
    "AveragePool": windows.average_pool,
    "Concat": movements.concatenate,
    "Conv": convolutions.convolution,
    "Flatten": movements.reshape,
    "Gather": movements.gather,
    "Gemm": convolutions.matrix_product,
    "GlobalAveragePool": windows.global_average_pool,
    "LeakyRelu": elements.leaky,
    "MatMul": convolutions.matrix_product,
    "MaxPool": windows.max_pool,
    "Mul": elements.multiply,
    "Pad": windows.pad,
    "ReduceMax": windows.reduce_max,
    "Relu": elements.rectify,
    "Reshape": movements.reshape,
    "Resize": windows.resize,
    "Sigmoid": elements.sigmoid,
    "Slice": movements.cut,
    "SpaceToDepth": movements.space_to_depth,
    "Softmax": elements.softmax,
    "Split": movements.split,
    "Squeeze": movements.reshape,
    "Sub": elements.subtract,
    "Tanh": elements.tanh,
    "Transpose": movements.transpose,
    "Unsqueeze": movements.reshape,
}


_FOLDED = ("Clip",)  # into the range of what it limits
_WHY = "it has no integer twin here"


def check(model: onnx.ModelProto) -> None:
    """That each operator of a float graph is known, before any work is done on it.

    Raises:
        Refused: one is not; the message names the node.
    """
    for node in model.graph.node:
        if node.op_type not in OPERATORS and node.op_type not in _FOLDED:
            refuse(Node(node.op_type, node.name or node.output[0], (), (), {}), _WHY)


def unknown(_: Writer, node: Node) -> None:
    refuse(node, _WHY)
