"""Which tensors of a float graph must have one scale, and where a convolution parts those that cannot.

What is joined, added or only moved is linked; so is what a ReLU makes of it, for only behind a convolution can a range
stand for the ReLU. A bounded result has a scale of its own (Sigmoid, Softmax, Tanh) or a range that does the clipping
(Clip): joined with something else it would lose either. And the scale of what enters a LeakyReLU is chosen for its
slopes. There a convolution of weight one stands between: what it is given has one scale, what it gives another, and
both files agree on its integers.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

MOVES = frozenset(
    {"Flatten", "Gather", "MaxPool", "Pad", "Reshape", "Resize", "Slice"}
    | {"SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
OWN = {"Sigmoid": (1 / 256, 0), "Softmax": (1 / 256, 0), "Tanh": (1 / 128, 128)}
_BOUNDED = (*OWN, "Clip")


def links(graph: onnx.GraphProto) -> dict[str, frozenset[str]]:
    """Each activation and all that must have its scale."""
    fixed = {value.name for value in graph.initializer}
    found: dict[str, set[str]] = {}
    makers: dict[str, onnx.NodeProto] = {}
    for name in (*(value.name for value in graph.input), *(name for node in graph.node for name in node.output)):
        found[name] = {name}
    for node in graph.node:
        makers.update(dict.fromkeys(node.output, node))
        if node.op_type in MOVES or (node.op_type == "Relu" and not _weighs(makers.get(node.input[0]))):
            linked = [node.input[0], *node.output]
        elif node.op_type == "Concat" or (node.op_type in ("Add", "Sub") and not fixed & set(node.input)):
            linked = [*node.input, *node.output]
        else:
            continue
        whole = set().union(*(found[name] for name in linked if name in found))
        for name in whole:
            found[name] = whole
    return {name: frozenset(members) for name, members in found.items()}


def part(graph: onnx.GraphProto) -> None:
    """Puts the convolutions in."""
    fixed = {value.name for value in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    linked = links(graph)

    def origin(name: str) -> str:
        while name in makers and makers[name].op_type in MOVES:
            name = makers[name].input[0]
        if name not in makers or makers[name].op_type not in _BOUNDED:
            return ""
        limits = makers[name].input[1:] if makers[name].op_type == "Clip" else ()
        return " ".join((makers[name].op_type, *limits))

    for node in list(graph.node):
        wanted = []
        if (node.op_type == "Concat" and len({origin(name) for name in node.input}) > 1) or (
            node.op_type in ("Add", "Sub") and not fixed & set(node.input)
        ):
            wanted = [place for place, name in enumerate(node.input) if origin(name)]
        elif (node.op_type == "LeakyRelu" and len(linked[node.input[0]]) > 1) or (
            node.op_type == "Clip" and not _weighs(makers.get(node.input[0]))
        ):
            wanted = [0]
        for place in wanted:
            _between(graph, node, place)


def _weighs(node: onnx.NodeProto | None) -> bool:
    """Whether what comes of a node has whatever scale is wished."""
    return node is not None and node.op_type in ("Conv", "Gemm", "MatMul")


def _between(graph: onnx.GraphProto, node: onnx.NodeProto, place: int) -> None:
    name = node.input[place]
    known = {value.name: value for value in graph.value_info}
    dims = list(known[name].type.tensor_type.shape.dim) if name in known else []
    if len(dims) != 4:
        return
    result, channels = f"{name}/for {node.output[0]}", dims[1].dim_value
    ones = np.ones((channels, 1, 1, 1), np.float32)
    graph.initializer.append(numpy_helper.from_array(ones, f"{result}/weight"))
    made = helper.make_node("Conv", [name, f"{result}/weight"], [result], name=f"{result}/conv", group=channels)
    graph.node.insert(list(graph.node).index(node), made)
    node.input[place] = result
