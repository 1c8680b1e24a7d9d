"""Structured pruning of a detector, to be measured: channels that no sum or concatenation joins, in multiples of 8.

A group begins at a convolution and follows its channels through activations and depthwise convolutions to all
convolutions that read them. The importance of a channel is the variance of what they read, times the squared norm of
their weights for it; the mean of a removed channel stays in their biases (as compress/training/pruning.py does it).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from vedette.compress.graph.editing import copy_model, read_attributes, replace_initializer, set_float_outputs
from vedette.compress.graph.importers.detector_import import ImportedDetector

ELEMENTWISE = ("Sigmoid", "Mul", "Relu", "Clip", "LeakyRelu", "HardSigmoid", "HardSwish")


class Group(NamedTuple):
    """Channels that can be removed together."""

    source: onnx.NodeProto
    depthwise: list[onnx.NodeProto]
    readers: list[onnx.NodeProto]


def find_groups(graph: onnx.GraphProto) -> list[Group]:
    """All groups whose channels no other operator reads."""
    constants = {value.name for value in graph.initializer}
    outputs = {value.name for value in graph.output}
    found = (_follow(graph, node, constants, outputs) for node in graph.node if _is_plain(node))
    return [group for group in found if group is not None]


def _is_plain(node: onnx.NodeProto) -> bool:
    return node.op_type == "Conv" and read_attributes(node).get("group", 1) == 1


def _follow(graph: onnx.GraphProto, source: onnx.NodeProto, constants: set[str], outputs: set[str]) -> Group | None:
    carried, group = {source.output[0]}, Group(source, [], [])
    for node in graph.node:
        inputs = {name for name in node.input if name and name not in constants}
        if not inputs & carried:
            continue
        if _is_plain(node):
            group.readers.append(node)
        elif inputs <= carried and node.op_type in (*ELEMENTWISE, "Conv"):
            carried.add(node.output[0])
            group.depthwise.extend([node] if node.op_type == "Conv" else [])
        else:
            return None
    return group if group.readers and not carried & outputs else None


def prune(detector: ImportedDetector, share: float, images: list[NDArray[Any]]) -> ImportedDetector:
    """The detector without `share` of the channels of each group.

    Args:
        detector: the detector
        share: of the channels
        images: normalized images, 1 x 3 x H x W
    """
    model = copy_model(detector.model)
    groups, graph = find_groups(model.graph), model.graph
    moments = _measure(model, sorted({node.input[0] for group in groups for node in group.readers}), images)
    values = {each.name: numpy_helper.to_array(each).copy() for each in graph.initializer}
    for group in groups:
        count = len(moments[group.readers[0].input[0]][0])
        kept_count = max(8, round(count * (1 - share) / 8) * 8)
        if kept_count >= count:
            continue
        importance = sum(
            moments[node.input[0]][1] * (values[node.input[1]] ** 2).sum(axis=(0, 2, 3)) for node in group.readers
        )
        order = np.argsort(-np.asarray(importance), kind="stable")
        kept, removed = np.sort(order[:kept_count]), order[kept_count:]
        for node in group.readers:
            weights, means = values[node.input[1]], moments[node.input[0]][0]
            values[node.input[2]] = values[node.input[2]] + weights[:, removed].sum(axis=(2, 3)) @ means[removed]
            values[node.input[1]] = weights[:, kept]
        for node in (group.source, *group.depthwise):
            for name in node.input[1:3]:
                values[name] = values[name][kept]
        for node in group.depthwise:
            next(each for each in node.attribute if each.name == "group").i = kept_count
    for each in graph.initializer:
        replace_initializer(each, np.ascontiguousarray(values[each.name]))
    del graph.value_info[:]
    return detector._replace(model=onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True))


def _measure(model: onnx.ModelProto, tensors: list[str], images: list[NDArray[Any]]) -> dict[str, Any]:
    """Mean and variance of each channel of the tensors."""
    probed = copy_model(model)
    set_float_outputs(probed.graph, tensors)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(probed.SerializeToString(), options)
    sums: dict[str, list[NDArray[Any]]] = {name: [] for name in tensors}
    for image in images:
        for name, value in zip(tensors, session.run(tensors, {model.graph.input[0].name: image}), strict=True):
            squares = (value.astype(np.float64) ** 2).mean(axis=(0, 2, 3))
            sums[name].append(np.stack([value.mean(axis=(0, 2, 3)), squares]))
    pairs = {name: np.mean(rows, axis=0) for name, rows in sums.items()}
    return {name: (mean.astype(np.float32), square - mean**2) for name, (mean, square) in pairs.items()}
