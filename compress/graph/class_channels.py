"""New classes for an object detector: other channels in its last convolutions, and which layers are near them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from vedette.runtime.errors import ConfigProblem

from .editing import (
    add_initializer,
    copy_model,
    map_initializers,
    map_producers,
    read_attributes,
    remove_unused_initializers,
)
from .importers.detector_import import ImportedDetector

_RARE = float(np.log(0.01 / 0.99))  # logit of the least score that counts
_MERGED_OFFSET = 2.0
HEAD_DEPTH = 5


def replace_classes(
    detector: ImportedDetector, labels: tuple[str, ...], sources: Sequence[Sequence[int]]
) -> ImportedDetector:
    """The detector with one class channel for each of `labels`, behind its old class channels.

    The old logits l stay, as features: a new logit is w · sum of max(0, l + c) over its old classes, less 4.6. For a
    single old class w = 1 and c = 4.6 keep its scores from 0.01 on. For several, c = 2 and w = 2.3 give nearly the
    order of the highest of theirs, and 0.5 where that is 0.5. A class with none begins as rare as 0.01, and learns from
    all old logits.

    Args:
        detector: without anchors
        labels: names of the new classes
        sources: for each new class, the channels of the old classes that it begins as

    Raises:
        ConfigProblem: the class scores are not those of a convolution
    """
    model = copy_model(detector.model)
    graph = model.graph
    initializers, producers = map_initializers(graph), map_producers(graph)
    mixed = np.zeros((len(labels), len(detector.labels), 1, 1), np.float32)
    offsets = np.full(len(detector.labels), -_RARE)
    for row, channels in enumerate(sources):
        offset = -_RARE if len(channels) == 1 else _MERGED_OFFSET
        offsets[list(channels)] = offset
        mixed[row, list(channels)] = -_RARE / offset
    for output in graph.output:
        if not output.name.startswith("class"):
            continue
        name, node = output.name, producers[output.name]
        count = initializers[node.input[1]].dims[0] if node.op_type == "Conv" else 0
        if count != len(detector.labels):
            hint = "train the network on these classes with its own project, and bring it then"
            raise ConfigProblem(f"{name} is a {node.op_type}: it cannot be given other classes", hint=hint)
        bias = numpy_helper.to_array(initializers[node.input[2]]) if len(node.input) > 2 else np.zeros(count)
        shifted = add_initializer(graph, f"{name}/old/bias", (bias + offsets).astype(np.float32))
        del node.input[2:]
        node.input.append(shifted)
        node.output[0] = f"{name}/old"
        levels = np.full(len(labels), _RARE, np.float32)
        parts = [add_initializer(graph, f"{name}/{key}", each) for key, each in (("weight", mixed), ("bias", levels))]
        position = list(graph.node).index(node) + 1
        graph.node.insert(position, helper.make_node("Relu", [f"{name}/old"], [f"{name}/known"], name=f"{name}/known"))
        graph.node.insert(position + 1, helper.make_node("Conv", [f"{name}/known", *parts], [name], name=f"{name}/new"))
        output.type.tensor_type.shape.dim[1].dim_value = len(labels)
    remove_unused_initializers(graph)
    del graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(inferred)
    return detector._replace(model=inferred, labels=labels)


def choose_layers(model: onnx.ModelProto, layers: str) -> set[str]:
    """Names of the weights and biases of the convolutions to train.

    Args:
        model: a result of `replace_classes`
        layers: `classes`: the new class channels and the old ones before them; `head`: the last HEAD_DEPTH
            convolutions before each output; `stage`: all from the last one on that halves the resolution
    """
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    if layers == "classes":
        return {name for node in convolutions if node.output[0].startswith("class") for name in node.input[1:]}
    if layers == "head":
        depths = _measure_depths(model)
        return {name for name, depth in depths.items() if depth <= HEAD_DEPTH}
    halving = [
        number for number, node in enumerate(convolutions) if max(read_attributes(node).get("strides", (1,))) > 1
    ]
    return {name for node in convolutions[max(halving, default=0) :] for name in node.input[1:]}


def _measure_depths(model: onnx.ModelProto) -> dict[str, int]:
    """For each weight and bias of a convolution, how many convolutions lead to the nearest output, itself included."""
    depth_of_tensor = {value.name: 0 for value in model.graph.output}
    depths: dict[str, int] = {}
    for node in reversed(model.graph.node):
        depth = min(depth_of_tensor.get(name, len(model.graph.node)) for name in node.output)
        if node.op_type == "Conv":
            depth += 1
            depths |= {name: min(depth, depths.get(name, depth)) for name in node.input[1:]}
        for name in node.input:
            depth_of_tensor[name] = min(depth, depth_of_tensor.get(name, depth))
    return depths
