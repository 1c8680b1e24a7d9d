"""Shared scales: finds the tensors that must have one scale, and inserts convolutions between conflicts.

Tensors that are concatenated, added or only copied share a scale. The input and output of a ReLU share one too, unless
the ReLU follows a convolution: only there can the output range replace the ReLU. A bounded result has a fixed scale
(Sigmoid, Softmax, Tanh) or a range that does the clipping (Clip), and would lose it in a shared scale. The input scale
of a LeakyReLU depends on its slopes. In these cases a convolution with weight one is inserted. Its input and its output
have different scales, and both int8 files agree on its integers.
"""

from __future__ import annotations

import numpy as np
import onnx

from ...graph.editing import insert_channel_scaling, map_producers, read_shape

COPYING_OPERATORS = frozenset(
    {"Flatten", "Gather", "MaxPool", "Pad", "Reshape", "Resize", "Slice"}
    | {"SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
FIXED_SCALES = {"Sigmoid": (1 / 256, 0), "Softmax": (1 / 256, 0), "Tanh": (1 / 128, 128)}
_BOUNDED_OPERATORS = (*FIXED_SCALES, "Clip")


def find_scale_groups(graph: onnx.GraphProto) -> dict[str, frozenset[str]]:
    """Maps each activation to the set of all tensors that share its scale."""
    constants = {value.name for value in graph.initializer}
    groups: dict[str, set[str]] = {}
    producers = map_producers(graph)
    for name in (*(value.name for value in graph.input), *(name for node in graph.node for name in node.output)):
        groups[name] = {name}
    for node in graph.node:
        if node.op_type in COPYING_OPERATORS or (
            node.op_type == "Relu" and not _is_rescalable(producers.get(node.input[0]))
        ):
            linked = [node.input[0], *node.output]
        elif node.op_type == "Concat" or (node.op_type in ("Add", "Sub") and not constants & set(node.input)):
            linked = [*node.input, *node.output]
        else:
            continue
        group = set().union(*(groups[name] for name in linked if name in groups))
        for name in group:
            groups[name] = group
    return {name: frozenset(members) for name, members in groups.items()}


def find_copied_tensors(graph: onnx.GraphProto, concat: onnx.NodeProto) -> set[str]:
    """The output of a Concat, and all tensors from which its values are copied unchanged."""
    producers, found, waiting = map_producers(graph), set(concat.output), list(concat.input)
    while waiting:
        name = waiting.pop()
        found.add(name)
        node = producers.get(name)
        if node is not None and node.op_type in COPYING_OPERATORS:
            waiting.append(node.input[0])
        elif node is not None and node.op_type == "Concat":
            waiting += node.input
    return found


def insert_rescale_convs(graph: onnx.GraphProto) -> None:
    """Inserts the convolutions with weight one where the scales of two tensors conflict."""
    constants = {value.name for value in graph.initializer}
    producers = map_producers(graph)
    groups = find_scale_groups(graph)

    def bounded_producer(name: str) -> str:
        while name in producers and producers[name].op_type in COPYING_OPERATORS:
            name = producers[name].input[0]
        if name not in producers or producers[name].op_type not in _BOUNDED_OPERATORS:
            return ""
        limits = producers[name].input[1:] if producers[name].op_type == "Clip" else ()
        return " ".join((producers[name].op_type, *limits))

    for node in list(graph.node):
        indices = []
        if (node.op_type == "Concat" and len({bounded_producer(name) for name in node.input}) > 1) or (
            node.op_type in ("Add", "Sub") and not constants & set(node.input)
        ):
            indices = [index for index, name in enumerate(node.input) if bounded_producer(name)]
        elif (node.op_type == "LeakyRelu" and len(groups[node.input[0]]) > 1) or (
            node.op_type == "Clip" and not _is_rescalable(producers.get(node.input[0]))
        ):
            indices = [0]
        for index in indices:
            _insert_rescale_conv(graph, node, index)


def _is_rescalable(node: onnx.NodeProto | None) -> bool:
    """Returns whether the output of `node` can have any scale."""
    return node is not None and node.op_type in ("Conv", "Gemm", "MatMul")


def _insert_rescale_conv(graph: onnx.GraphProto, node: onnx.NodeProto, index: int) -> None:
    name = node.input[index]
    shape = next((read_shape(value) for value in graph.value_info if value.name == name), ())
    if len(shape) == 4:
        insert_channel_scaling(graph, node, index, f"{name}/for {node.output[0]}", np.ones(shape[1]))
