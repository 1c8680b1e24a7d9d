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
from onnx import helper, numpy_helper

from ...graph.editing import insert_before, map_producers

COPYING_OPERATORS = frozenset(
    {"Flatten", "Gather", "MaxPool", "Pad", "Reshape", "Resize", "Slice"}
    | {"SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
FIXED_SCALES = {"Sigmoid": (1 / 256, 0), "Softmax": (1 / 256, 0), "Tanh": (1 / 128, 128)}
_BOUNDED_OPERATORS = (*FIXED_SCALES, "Clip")


def find_scale_groups(graph: onnx.GraphProto) -> dict[str, frozenset[str]]:
    """Maps each activation to the set of all tensors that share its scale."""
    fixed = {value.name for value in graph.initializer}
    found: dict[str, set[str]] = {}
    producers: dict[str, onnx.NodeProto] = {}
    for name in (*(value.name for value in graph.input), *(name for node in graph.node for name in node.output)):
        found[name] = {name}
    for node in graph.node:
        producers.update(dict.fromkeys(node.output, node))
        if node.op_type in COPYING_OPERATORS or (
            node.op_type == "Relu" and not _is_rescalable(producers.get(node.input[0]))
        ):
            linked = [node.input[0], *node.output]
        elif node.op_type == "Concat" or (node.op_type in ("Add", "Sub") and not fixed & set(node.input)):
            linked = [*node.input, *node.output]
        else:
            continue
        whole = set().union(*(found[name] for name in linked if name in found))
        for name in whole:
            found[name] = whole
    return {name: frozenset(members) for name, members in found.items()}


def insert_rescale_convs(graph: onnx.GraphProto) -> None:
    """Inserts the convolutions with weight one where the scales of two tensors conflict."""
    fixed = {value.name for value in graph.initializer}
    producers = map_producers(graph)
    linked = find_scale_groups(graph)

    def origin(name: str) -> str:
        while name in producers and producers[name].op_type in COPYING_OPERATORS:
            name = producers[name].input[0]
        if name not in producers or producers[name].op_type not in _BOUNDED_OPERATORS:
            return ""
        limits = producers[name].input[1:] if producers[name].op_type == "Clip" else ()
        return " ".join((producers[name].op_type, *limits))

    for node in list(graph.node):
        wanted = []
        if (node.op_type == "Concat" and len({origin(name) for name in node.input}) > 1) or (
            node.op_type in ("Add", "Sub") and not fixed & set(node.input)
        ):
            wanted = [place for place, name in enumerate(node.input) if origin(name)]
        elif (node.op_type == "LeakyRelu" and len(linked[node.input[0]]) > 1) or (
            node.op_type == "Clip" and not _is_rescalable(producers.get(node.input[0]))
        ):
            wanted = [0]
        for place in wanted:
            _insert_rescale_conv(graph, node, place)


def _is_rescalable(node: onnx.NodeProto | None) -> bool:
    """Returns whether the output of `node` can have any scale."""
    return node is not None and node.op_type in ("Conv", "Gemm", "MatMul")


def _insert_rescale_conv(graph: onnx.GraphProto, node: onnx.NodeProto, place: int) -> None:
    name = node.input[place]
    known = {value.name: value for value in graph.value_info}
    dims = list(known[name].type.tensor_type.shape.dim) if name in known else []
    if len(dims) != 4:
        return
    result, channels = f"{name}/for {node.output[0]}", dims[1].dim_value
    ones = np.ones((channels, 1, 1, 1), np.float32)
    graph.initializer.append(numpy_helper.from_array(ones, f"{result}/weight"))
    made = helper.make_node("Conv", [name, f"{result}/weight"], [result], name=f"{result}/conv", group=channels)
    insert_before(graph, node, [made])
    node.input[place] = result
