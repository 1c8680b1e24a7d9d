"""Float ONNX and ranges -> int8 ONNX, written by ONNX Runtime's quantiser.

Quantise and dequantise nodes around each operator (QDQ), activations u8, weights s8 symmetric per output channel,
biases s32 (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", 2018). These parameters are fast on x86 and legal in TFLite, so one set serves both files.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from .scales.activation_ranges import Range

# What ONNX Runtime's quantiser takes up by itself, and what it only takes when told.
_KINDS = sorted({*QDQRegistry, *QLinearOpsRegistry, "SpaceToDepth", "Sub", "Tanh"})


def written(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    feed: dict[str, NDArray[Any]],
    left_float: Collection[str] = (),
) -> onnx.ModelProto:
    """The int8 model with integer inputs and outputs: image 1 x H x W x 3, u8.

    Args:
        model: one input, 1 x 3 x H x W, normalised
        ranges: of the input and of all that nodes make
        feed: any input; the quantiser wants to see one
        left_float: names of nodes that stay as they are
    """
    overrides: dict[str, list[dict[str, Any]]] = {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()
    }
    return quantised(model, overrides, feed, {*left_float, *_wider(model, ranges)})


def quantised(
    model: onnx.ModelProto,
    overrides: Mapping[str, list[dict[str, Any]]],
    feed: dict[str, NDArray[Any]],
    left_float: Collection[str] = (),
) -> onnx.ModelProto:
    """The same, where each tensor's parameters are said in the words of ONNX Runtime's quantiser."""
    constants, told = {value.name for value in model.graph.initializer}, dict(overrides)
    for node in model.graph.node:
        if node.op_type in ("Add", "Mul"):
            told |= {each: [{"quant_type": QuantType.QUInt8}] for each in node.input if each in constants}
    copy = onnx.ModelProto.FromString(model.SerializeToString())  # what it is given loses its weights
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        root = logging.getLogger()  # through it comes the advice to do what was done already
        level, root.level = root.level, logging.ERROR
        try:
            quantize_static(
                copy,
                path,
                _Reader([feed]),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=_KINDS,
                nodes_to_exclude=list(left_float),
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"TensorQuantOverrides": told},
            )
        finally:
            root.level = level
        model = onnx.load(path)
    return _integer_ends(model)


def _wider(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> list[str]:
    """The Clips whose output has a range beyond their bounds, as where it is joined to others.

    The quantiser takes Clips out, and would let through what they cut off.
    """
    constants = {value.name: value for value in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type not in ("Clip", "Relu"):
            continue
        ends = [0.0, np.inf]
        if node.op_type == "Clip":
            given = [constants.get(name) for name in [*node.input[1:], "", ""][:2]]
            values = [None if each is None else float(onnx.numpy_helper.to_array(each)) for each in given]
            ends = [other if each is None else each for each, other in zip(values, (-np.inf, np.inf), strict=True)]
        low, high = ranges[node.output[0]]
        slack = (high - low) / 255  # zero must be an integer: the range moves by up to half a step
        if low < min(ends[0], 0.0) - slack or high > max(ends[1], 0.0) + slack:
            found.append(node.name)
    return found


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterable[dict[str, NDArray[Any]]]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self.feeds, None)


def _integer_ends(model: onnx.ModelProto) -> onnx.ModelProto:
    """Takes the float ends off: the input is u8 in N x H x W x 3, and each output is the u8 tensor behind it."""
    graph = model.graph
    image = graph.input[0]
    batch, channels, height, width = (d.dim_value for d in image.type.tensor_type.shape.dim)
    entry = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == image.name)
    turn = onnx.helper.make_node("Transpose", [image.name], [entry.output[0]], name="layout", perm=[0, 3, 1, 2])
    graph.node.remove(entry)
    graph.node.insert(0, turn)
    shape = [batch, height, width, channels]
    image.CopyFrom(onnx.helper.make_tensor_value_info(image.name, onnx.TensorProto.UINT8, shape))

    for output in graph.output:
        name = output.name
        for node in [n for n in graph.node if n.op_type == "ReduceMax" and n.output[0] == name]:
            real = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0] == node.input[0]]
            node.input[0] = real[0].input[0] if real else node.input[0]  # the highest integer stands for the highest
        for node in [n for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0] == name]:
            _rename(graph, name, f"{name}/real")  # what else reads it
            _rename(graph, node.input[0], name)
            if not any(f"{name}/real" in other.input for other in graph.node):
                graph.node.remove(node)
        output.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    del graph.value_info[:]  # they describe the float tensors
    onnx.checker.check_model(model)
    return model


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
