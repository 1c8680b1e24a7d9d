"""A detector is cut where its last convolutions end: behind them integers would ruin it, and the head does it better.

Exporters differ in what they put behind: sigmoids, one large tensor of boxes, objectness and classes, decoded or not,
or a tensor for each. All of that is gone here, whoever exported it. What is left are plain sums of products, each with
a scale of its own, and named after what they mean and the level they belong to, as the runtime's heads read them.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from vedette.runtime.errors import ConfigProblem

from .detector_families import Family

_SCALED = ("Mul", "Div", "Add", "Sub")  # by a constant, right behind a convolution: some heads learn one for each level


def cut(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """`model` with its last convolutions as outputs, in the order in which the old ones name them.

    Raises:
        ConfigProblem: nothing in it is a convolution.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    fixed = {value.name for value in graph.initializer}
    fixed |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    ends: list[str] = []
    seen: set[str] = set()

    def back(name: str) -> None:
        node = makers.get(name)
        if node is None or name in seen:
            return
        seen.add(name)
        changing = [each for each in node.input if each not in fixed]
        before = makers.get(changing[0]) if len(changing) == 1 else None
        scaled = node.op_type in _SCALED and before is not None and before.op_type == "Conv"
        if scaled or (node.op_type == "Conv" and not _integral(node, makers)):
            ends.append(name)
        else:
            data = node.input if node.op_type in ("Concat", *_SCALED) else node.input[:1]
            for each in data:
                back(each)

    for output in graph.output:
        back(output.name)
    if not ends:
        hint = "it should be the family's network as its own project exports it"
        raise ConfigProblem(f"{where}: no convolution leads to its outputs", hint=hint)
    del graph.output[:]
    graph.output.extend(onnx.helper.make_tensor_value_info(each, onnx.TensorProto.FLOAT, None) for each in ends)
    wanted = set(ends)
    for node in reversed(list(graph.node)):
        if wanted & set(node.output):
            wanted.update(node.input)
        else:
            graph.node.remove(node)
    return model


def _integral(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether the convolution takes the mean of a distribution: a softmax is behind it."""
    before = makers.get(node.input[0])
    while before is not None and before.op_type in ("Reshape", "Transpose"):
        before = makers.get(before.input[0])
    return before is not None and before.op_type == "Softmax"


def named(model: onnx.ModelProto, family: Family, where: str) -> onnx.ModelProto:
    """The outputs of `cut`, shapes known, named by role and level and in the order of the levels, the finest first.

    Raises:
        ConfigProblem: they are not what the family ends with.
    """
    if family.joined:
        for value in list(model.graph.output):
            _parted(model.graph, value, family)
    graph = model.graph
    levels: dict[tuple[int, ...], list[onnx.ValueInfoProto]] = {}
    for value in graph.output:
        levels.setdefault(_shape(value)[2:], []).append(value)
    new: dict[str, str] = {}
    for number, size in enumerate(sorted(levels, key=lambda each: -int(np.prod(each)))):
        found = {role: value.name for role, value in zip(family.roles, levels[size], strict=False)}
        wrong = [
            role for role, value in zip(family.roles, levels[size], strict=False)
            if _shape(value)[1] != family.channels.get(role, _shape(value)[1])
        ]  # fmt: skip
        if wrong or len(levels[size]) != len(family.roles):
            shapes = ", ".join(" x ".join(map(str, _shape(value)[1:])) for value in levels[size])
            hint = f"it wants {', '.join(family.roles)} of {family.channels}: is model.family right?"
            raise ConfigProblem(f"{where}: its last convolutions give {shapes}", hint=hint)
        new |= {name: f"{role}{number}" for role, name in found.items()}
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = new.get(name, f"{name}/before" if name in new.values() else name)
    shapes_of = {new[value.name]: _shape(value) for value in graph.output}
    del graph.output[:]
    graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes_of[name]) for name in new.values()
    )
    return model


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _parted(graph: onnx.GraphProto, value: onnx.ValueInfoProto, family: Family) -> None:
    """A convolution that gives two roles together becomes two: each has a scale of its own then."""
    _, channels, *size = _shape(value)
    sizes = [family.channels.get(role, channels - sum(family.channels.values())) for role in family.joined]
    same = [each for each in graph.output if _shape(each)[2:] == tuple(size)]
    node = next(each for each in graph.node if value.name in each.output)
    constants = {each.name: each for each in graph.initializer}
    if len(same) > 1 or min(sizes) < 1 or node.op_type != "Conv":
        return
    place = list(graph.node).index(node)
    graph.node.remove(node)
    graph.output.remove(value)
    pieces = [np.split(numpy_helper.to_array(constants[name]), np.cumsum(sizes)[:-1]) for name in node.input[1:]]
    for number, (role, count) in enumerate(zip(family.joined, sizes, strict=True)):
        made = onnx.NodeProto.FromString(node.SerializeToString())
        result = f"{value.name}/{role}"
        made.name, made.output[0] = f"{result}/conv", result
        for slot, piece in enumerate(pieces, 1):
            made.input[slot] = f"{result}/{slot}"
            graph.initializer.append(numpy_helper.from_array(piece[number].copy(), made.input[slot]))
        graph.node.insert(place + number, made)
        graph.output.append(onnx.helper.make_tensor_value_info(result, onnx.TensorProto.FLOAT, [1, count, *size]))
