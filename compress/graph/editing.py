"""Edits of ONNX graphs: look-up tables, insertion, removal and renaming of nodes and tensors.

All functions work on the `onnx` protobufs and change a graph in place unless their docstring says that they copy it.
They keep the order of all other nodes, initializers and value infos, so the bytes of a written model depend on the
edit alone. onnx-ir has the same functions, but its round trip adds value infos and rewrites node fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


def copy_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """Deep copy of a model."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def map_producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node that computes each tensor; graph inputs and initializers have none."""
    return {name: node for node in graph.node for name in node.output}


def map_consumers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor, in graph order; a node that reads a tensor twice is listed twice."""
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    return consumers


def find_consumers(graph: onnx.GraphProto, tensor: str) -> list[onnx.NodeProto]:
    """The nodes that read `tensor`, in graph order, each listed once."""
    return [node for node in graph.node if tensor in node.input]


def find_only_consumer(graph: onnx.GraphProto, tensor: str) -> onnx.NodeProto | None:
    """The node that reads `tensor`, or None if no node or more than one node reads it."""
    consumers = find_consumers(graph, tensor)
    return consumers[0] if len(consumers) == 1 else None


def map_initializers(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The initializers of a graph by name."""
    return {value.name: value for value in graph.initializer}


def read_initializers(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """The values of all initializers by name."""
    return {value.name: numpy_helper.to_array(value) for value in graph.initializer}


def add_initializer(graph: onnx.GraphProto, name: str, values: NDArray[Any]) -> str:
    """Append an initializer and return its name."""
    graph.initializer.append(numpy_helper.from_array(values, name))
    return name


def replace_initializer(initializer: onnx.TensorProto, values: NDArray[Any]) -> None:
    """Give an initializer new values under its old name."""
    initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))


def read_attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node by name, as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def read_shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """The shape of a tensor; 0 for an axis of unknown size."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def read_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """The shapes of all initializers and of all tensors with a value info, by name."""
    shapes = {value.name: tuple(value.dims) for value in graph.initializer}
    return shapes | {value.name: read_shape(value) for value in (*graph.input, *graph.output, *graph.value_info)}


def list_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs of a graph without its weights, which old files list as inputs, too."""
    initializers = map_initializers(graph)
    return [value for value in graph.input if value.name not in initializers]


def insert_channel_scaling(
    graph: onnx.GraphProto, node: onnx.NodeProto, position: int, scaled: str, factors: NDArray[Any]
) -> None:
    """Insert a convolution that multiplies channel i of one input of `node` by `factors[i]`."""
    weight = add_initializer(graph, f"{scaled}/weight", factors.astype(np.float32).reshape(-1, 1, 1, 1))
    inputs = [node.input[position], weight]
    conv = helper.make_node("Conv", inputs, [scaled], name=f"{scaled}/conv", group=len(factors))
    insert_before(graph, node, [conv])
    node.input[position] = scaled


def copy_with_weights(model: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """Copy of `model` in which the initializers named in `weights` have these values."""
    copy = copy_model(model)
    for initializer in copy.graph.initializer:
        if initializer.name in weights:
            replace_initializer(initializer, weights[initializer.name])
    return copy


def insert_before(graph: onnx.GraphProto, node: onnx.NodeProto, new_nodes: Iterable[onnx.NodeProto]) -> None:
    """Insert `new_nodes`, in their order, directly before `node`."""
    position = list(graph.node).index(node)
    for offset, new_node in enumerate(new_nodes):
        graph.node.insert(position + offset, new_node)


def replace_node(graph: onnx.GraphProto, node: onnx.NodeProto, new_nodes: Iterable[onnx.NodeProto]) -> None:
    """Put `new_nodes`, in their order, in the place of `node`."""
    insert_before(graph, node, new_nodes)
    graph.node.remove(node)


def remove_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Remove nodes of the graph."""
    for node in nodes:
        graph.node.remove(node)


def remove_unused_nodes(graph: onnx.GraphProto) -> None:
    """Remove all nodes that no graph output depends on."""
    used = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if used & set(node.output):
            used.update(node.input)
        else:
            graph.node.remove(node)


def remove_unused_initializers(graph: onnx.GraphProto) -> None:
    """Remove the initializers that no node reads."""
    used = {name for node in graph.node for name in node.input}
    for initializer in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(initializer)


def replace_outputs(graph: onnx.GraphProto, outputs: Iterable[onnx.ValueInfoProto]) -> None:
    """Give the graph other outputs; `outputs` may hold some of its present ones."""
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in outputs]
    del graph.output[:]
    graph.output.extend(copies)


def set_float_outputs(graph: onnx.GraphProto, names: Iterable[str]) -> None:
    """Make the float tensors `names`, of any shape, the only outputs of the graph."""
    replace_outputs(graph, [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names])


def rename_tensors(graph: onnx.GraphProto, new_names: Mapping[str, str]) -> None:
    """Rename tensors in all nodes, old name to new name; another tensor of a new name becomes `NAME/before`."""
    taken = set(new_names.values())
    for node in graph.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                names[position] = new_names.get(name, f"{name}/before" if name in taken else name)
