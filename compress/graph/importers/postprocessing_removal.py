"""Cuts an object detector behind its last convolutions and names the outputs.

Exporters differ in what follows the last convolutions: sigmoids, one large tensor of boxes, objectness and classes,
decoded or not, or one tensor for each. Integers would lose too much there, and the runtime's detection head computes it
in float. So the import removes all of it. What remains are outputs of convolutions, each with a scale of its own, named
by role and pyramid level as the runtime's heads read them (`box0`, `class1`).

`split_output_concats` does part of this for any network: it removes a Concat at the end.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from vedette.runtime.errors import ConfigProblem

from ..editing import (
    add_initializer,
    copy_model,
    map_initializers,
    map_producers,
    read_shape,
    remove_nodes,
    remove_unused_nodes,
    rename_tensors,
    replace_node,
    replace_outputs,
    set_float_outputs,
)
from .detector_family_table import DetectorFamily

_JOINING_OPERATORS = ("Concat", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")
_ARITHMETIC = ("Mul", "Div", "Add", "Sub")
"""With a constant, directly behind a convolution: some heads learn a scale for each level."""


def remove_postprocessing(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """Copy of `model` whose outputs are its last convolutions, in the order in which the old outputs use them.

    Args:
        model: a detector as exported
        source: name of the model in messages

    Raises:
        ConfigProblem: no output depends on a convolution
    """
    model = copy_model(model)
    graph = model.graph
    producers = map_producers(graph)
    constants = set(map_initializers(graph))
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    last_convolutions: list[str] = []
    visited: set[str] = set()

    def visit(name: str) -> None:
        node = producers.get(name)
        if node is None or name in visited:
            return
        visited.add(name)
        variables = [each for each in node.input if each not in constants]
        before = producers.get(variables[0]) if len(variables) == 1 else None
        scaled = node.op_type in _ARITHMETIC and before is not None and before.op_type == "Conv"
        if scaled or (node.op_type == "Conv" and not _is_distribution_mean(node, producers)):
            last_convolutions.append(name)
        else:
            for each in node.input if node.op_type in ("Concat", *_ARITHMETIC) else node.input[:1]:
                visit(each)

    for output in graph.output:
        visit(output.name)
    if not last_convolutions:
        hint = "export the network with the exporter of its own project"
        raise ConfigProblem(f"{source}: no convolution leads to its outputs", hint=hint)
    set_float_outputs(graph, last_convolutions)
    remove_unused_nodes(graph)
    return model


def _is_distribution_mean(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> bool:
    """Whether a convolution computes the mean of a distribution (distribution focal loss): it reads a softmax."""
    before = producers.get(node.input[0])
    while before is not None and before.op_type in ("Reshape", "Transpose"):
        before = producers.get(before.input[0])
    return before is not None and before.op_type == "Softmax"


def name_outputs(model: onnx.ModelProto, family: DetectorFamily, source: str) -> onnx.ModelProto:
    """Name the outputs by role and pyramid level and order them by level, finest first, in place.

    Args:
        model: result of `remove_postprocessing`, of known shapes
        family: the roles and channels to expect
        source: name of the model in messages

    Raises:
        ConfigProblem: the outputs do not match the family
    """
    graph = model.graph
    if family.fused_roles:
        for value in list(graph.output):
            _split_fused_convolution(graph, value, family)
    levels: dict[tuple[int, ...], list[onnx.ValueInfoProto]] = {}
    for value in graph.output:
        levels.setdefault(read_shape(value)[2:], []).append(value)
    new_names: dict[str, str] = {}
    for level, size in enumerate(sorted(levels, key=lambda size: -int(np.prod(size)))):
        roles = _assign_roles(levels[size], family)
        if not roles:
            shapes = ", ".join(" x ".join(map(str, read_shape(value)[1:])) for value in levels[size])
            expected = f"{', '.join(family.output_roles)} of {family.fixed_channels}"
            hint = f"the family has {expected}: is model.family right?"
            raise ConfigProblem(f"{source}: its last convolutions give {shapes}", hint=hint)
        new_names |= {value.name: f"{role}{level}" for role, value in roles.items()}
    rename_tensors(graph, new_names)
    shapes_by_name = {new_names[value.name]: read_shape(value) for value in graph.output}
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes_by_name[name]) for name in new_names.values()
    )
    return model


def _assign_roles(values: list[onnx.ValueInfoProto], family: DetectorFamily) -> dict[str, onnx.ValueInfoProto]:
    """The outputs of one level by role: in the family's order, or else by their channels; empty: they do not match."""
    for order in permutations(values):
        roles = dict(zip(family.output_roles, order, strict=False))
        fits = (family.fixed_channels.get(role, read_shape(value)[1]) == read_shape(value)[1]
                for role, value in roles.items())  # fmt: skip
        if len(values) == len(family.output_roles) and all(fits):
            return roles
    return {}


def _split_fused_convolution(graph: onnx.GraphProto, value: onnx.ValueInfoProto, family: DetectorFamily) -> None:
    """Split a convolution that computes two roles together into one per role: each then has a scale of its own."""
    _, channels, *size = read_shape(value)
    counts = [family.fixed_channels.get(r, channels - sum(family.fixed_channels.values())) for r in family.fused_roles]
    same_size = [each for each in graph.output if read_shape(each)[2:] == tuple(size)]
    node = map_producers(graph)[value.name]
    initializers = map_initializers(graph)
    if len(same_size) > 1 or min(counts) < 1 or node.op_type != "Conv":
        return
    graph.output.remove(value)
    parts = [np.split(numpy_helper.to_array(initializers[name]), np.cumsum(counts)[:-1]) for name in node.input[1:]]
    convolutions = []
    for number, (role, count) in enumerate(zip(family.fused_roles, counts, strict=True)):
        convolution = onnx.NodeProto.FromString(node.SerializeToString())
        result = f"{value.name}/{role}"
        convolution.name, convolution.output[0] = f"{result}/conv", result
        for slot, part in enumerate(parts, 1):
            convolution.input[slot] = add_initializer(graph, f"{result}/{slot}", part[number].copy())
        convolutions.append(convolution)
        graph.output.append(helper.make_tensor_value_info(result, onnx.TensorProto.FLOAT, [1, count, *size]))
    replace_node(graph, node, convolutions)


def split_output_concats(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy of `model` in which the inputs of a final Concat replace the output that depends on it."""
    model = copy_model(model)
    graph = model.graph
    values = {value.name: value for value in (*graph.value_info, *graph.output)}
    while True:
        producers = map_producers(graph)
        used_names = [name for node in graph.node for name in node.input]
        for output in graph.output:
            path, name = [], output.name
            while name in producers and producers[name].op_type in _JOINING_OPERATORS:
                path.append(producers[name])
                if path[-1].op_type == "Concat" or used_names.count(name) > 1:
                    break
                name = path[-1].input[0]
            if path and path[-1].op_type == "Concat" and not used_names.count(path[0].output[0]):
                branches = [values[each] for each in path[-1].input if each in producers]
                break
        else:
            return model
        remove_nodes(graph, path)
        replace_outputs(graph, [v for each in graph.output for v in (branches if each is output else [each])])
