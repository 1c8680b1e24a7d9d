"""Writer of int8 ONNX models: converts a float model and its ranges with ONNX Runtime's quantizer.

The format is QDQ: QuantizeLinear and DequantizeLinear nodes around each operator. Activations are u8. Weights are s8,
symmetric, per-channel. Biases are s32 (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018). These quantization parameters are fast on x86 and valid in TFLite, so both
files use the same ones.
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

from ..graph.editing import copy_model, map_initializers, read_shape, rename_tensors
from .scales.activation_ranges import Range

# Operators that ONNX Runtime's quantizer handles by default, and operators that it handles only on request.
_OPERATORS = sorted({*QDQRegistry, *QLinearOpsRegistry, "SpaceToDepth", "Sub", "Tanh"})


def quantize_with_ranges(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    feed: dict[str, NDArray[Any]],
    float_nodes: Collection[str] = (),
) -> onnx.ModelProto:
    """Returns the int8 model, with integer inputs and outputs; the input image is 1 x H x W x 3, u8.

    Args:
        model: float model with one input, 1 x 3 x H x W, normalized
        ranges: range of the input and of each node output
        feed: any model input; the quantizer requires one
        float_nodes: names of the nodes that stay float
    """
    overrides: dict[str, list[dict[str, Any]]] = {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()
    }
    return quantize_with_overrides(model, overrides, feed, {*float_nodes, *_find_wider_clips(model, ranges)})


def quantize_with_overrides(
    model: onnx.ModelProto,
    overrides: Mapping[str, list[dict[str, Any]]],
    feed: dict[str, NDArray[Any]],
    float_nodes: Collection[str] = (),
) -> onnx.ModelProto:
    """Returns the int8 model like `quantize_with_ranges`, from quantization parameters per tensor.

    Args:
        model: float model with one input, 1 x 3 x H x W, normalized
        overrides: parameters of each tensor, in the format of ONNX Runtime's `TensorQuantOverrides`
        feed: any model input; the quantizer requires one
        float_nodes: names of the nodes that stay float
    """
    constants, all_overrides = {value.name for value in model.graph.initializer}, dict(overrides)
    for node in model.graph.node:
        if node.op_type in ("Add", "Mul"):
            all_overrides |= {name: [{"quant_type": QuantType.QUInt8}] for name in node.input if name in constants}
    copy = copy_model(model)  # the quantizer removes the weights from its input model
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        root = logging.getLogger()  # it logs a hint to preprocess the model, which is already done
        level, root.level = root.level, logging.ERROR
        try:
            quantize_static(
                copy,
                path,
                _FeedReader([feed]),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=_OPERATORS,
                nodes_to_exclude=list(float_nodes),
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"TensorQuantOverrides": all_overrides},
            )
        finally:
            root.level = level
        model = onnx.load(path)
    _unshare_weights(model.graph)
    return _make_ends_integer(model)


def _find_wider_clips(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> list[str]:
    """Returns the Clip and Relu nodes whose output range exceeds their bounds, as after a range shared with others.

    The quantizer would remove such nodes, and values beyond the bounds would pass.
    """
    constants = map_initializers(model.graph)
    wider_clips = []
    for node in model.graph.node:
        if node.op_type not in ("Clip", "Relu"):
            continue
        bounds = [0.0, np.inf]
        if node.op_type == "Clip":
            tensors = [constants.get(name) for name in [*node.input[1:], "", ""][:2]]
            values = [None if tensor is None else float(onnx.numpy_helper.to_array(tensor)) for tensor in tensors]
            bounds = [
                default if value is None else value for value, default in zip(values, (-np.inf, np.inf), strict=True)
            ]
        low, high = ranges[node.output[0]]
        tolerance = (high - low) / 255  # the zero point is an integer: the range moves by up to half a step
        if low < min(bounds[0], 0.0) - tolerance or high > max(bounds[1], 0.0) + tolerance:
            wider_clips.append(node.name)
    return wider_clips


class _FeedReader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterable[dict[str, NDArray[Any]]]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self.feeds, None)


def _unshare_weights(graph: onnx.GraphProto) -> None:
    """Gives each layer weights of its own, where several share them.

    On x86 without VNNI ONNX Runtime moves weights to u8 under a name made of theirs, and refuses the model if the name
    is taken (ONNX Runtime 1.32, `session.x64quantprecision`).
    """
    constants = map_initializers(graph)
    weights = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and all(name in constants for name in node.input)
    }
    seen: set[str] = set()
    for node in [node for node in graph.node if len(node.input) > 1 and node.input[1] in weights]:
        shared, number = node.input[1], 1
        if shared not in seen:
            seen.add(shared)
            continue
        while f"{shared}/{number}" in seen:
            number += 1
        seen.add(f"{shared}/{number}")
        dequantize = onnx.NodeProto.FromString(weights[shared].SerializeToString())
        dequantize.name, dequantize.output[0] = f"{dequantize.name}/{number}", f"{shared}/{number}"
        for place, name in enumerate(dequantize.input):
            copy = onnx.TensorProto.FromString(constants[name].SerializeToString())
            copy.name = dequantize.input[place] = f"{name}/{number}"
            graph.initializer.append(copy)
        node.input[1] = dequantize.output[0]
        graph.node.insert(0, dequantize)


def _make_ends_integer(model: onnx.ModelProto) -> onnx.ModelProto:
    """Removes the float input and outputs: the input becomes u8, N x H x W x 3, and the outputs become u8."""
    graph = model.graph
    image = graph.input[0]
    batch, channels, height, width = read_shape(image)
    entry = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == image.name)
    transpose = onnx.helper.make_node("Transpose", [image.name], [entry.output[0]], name="layout", perm=[0, 3, 1, 2])
    graph.node.remove(entry)
    graph.node.insert(0, transpose)
    shape = [batch, height, width, channels]
    image.CopyFrom(onnx.helper.make_tensor_value_info(image.name, onnx.TensorProto.UINT8, shape))

    for output in graph.output:
        name = output.name
        for node in [n for n in graph.node if n.op_type == "ReduceMax" and n.output[0] == name]:
            dequantize = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0] == node.input[0]]
            node.input[0] = (
                dequantize[0].input[0] if dequantize else node.input[0]
            )  # the largest integer is the maximum
        for node in [n for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0] == name]:
            # other nodes keep reading the float tensor
            rename_tensors(graph, {name: f"{name}/real", node.input[0]: name})
            if not any(f"{name}/real" in other.input for other in graph.node):
                graph.node.remove(node)
        output.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    del graph.value_info[:]  # these entries describe the float tensors
    onnx.checker.check_model(model)
    return model
