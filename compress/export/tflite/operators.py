"""Which function says which ONNX operator in TFLite.

Each takes the writer and the node, adds what TFLite needs, and must compute the same integers as ONNX Runtime; the
tests hold each of them to that on random shapes and parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from ...graph.qdq import Node
from . import convolutions, data_movement, elementwise, pooling_and_resize
from .operands import refuse
from .writer import Writer

OPERATORS: dict[str, Callable[[Writer, Node], None]] = {
    "Add": elementwise.add,
    "AveragePool": pooling_and_resize.average_pool,
    "Concat": data_movement.concatenate,
    "Conv": convolutions.convolution,
    "Flatten": data_movement.reshape,
    "Gather": data_movement.gather,
    "Gemm": convolutions.matrix_product,
    "GlobalAveragePool": pooling_and_resize.global_average_pool,
    "LeakyRelu": elementwise.leaky,
    "MatMul": convolutions.matrix_product,
    "MaxPool": pooling_and_resize.max_pool,
    "Mul": elementwise.multiply,
    "Pad": pooling_and_resize.pad,
    "ReduceMax": pooling_and_resize.reduce_max,
    "Relu": elementwise.rectify,
    "Reshape": data_movement.reshape,
    "Resize": pooling_and_resize.resize,
    "Sigmoid": elementwise.sigmoid,
    "Slice": data_movement.cut,
    "SpaceToDepth": data_movement.space_to_depth,
    "Softmax": elementwise.softmax,
    "Split": data_movement.split,
    "Squeeze": data_movement.reshape,
    "Sub": elementwise.subtract,
    "Tanh": elementwise.tanh,
    "Transpose": data_movement.transpose,
    "Unsqueeze": data_movement.reshape,
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
