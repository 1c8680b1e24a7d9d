"""Float ONNX -> int8 ONNX: post-training static quantisation by ONNX Runtime.

Quantise and dequantise nodes around each operator (QDQ), activations u8, weights s8 symmetric per output channel,
biases s32 (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", 2018). These parameters are fast on x86 and legal in TFLite, so one set serves both files.

Ranges are the smallest and largest values over the calibration images, with five exceptions:

    input      its scale is 1 / std and its zero point the mean, so that a pixel is its own integer
    constants  of Add and Mul are u8 like the activation that they meet, or no integer kernel would take the pair
    scores     the range that no image can leave, by interval arithmetic: good images alone cannot tell how high the
               score of a defect may be, and a range taken from them would clamp it
    Concat     one range for all that it joins, by interval arithmetic too, so that it only copies
    sums       one range for what is added and what comes of it, so that adding is exact: sums.py
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
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

from vedette.runtime.manifest import Input

from ..foreign.ranges import Scales
from ..intervals import bounds
from .sums import shared_ranges

# What ONNX Runtime's quantiser takes up by itself, and what it only takes when told.
_KINDS = sorted({*QDQRegistry, *QLinearOpsRegistry, "SpaceToDepth", "Sub", "Tanh"})


@dataclasses.dataclass(frozen=True)
class Quantise:
    """Settings of the technique."""

    bounded_outputs: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Outputs whose ranges come from interval arithmetic, and what each cannot fall below."""
    foreign: bool = False
    """The network was not made here: each tensor's scale is what foreign/ranges.py says."""

    def __call__(self, model: onnx.ModelProto, calibration: Iterable[NDArray[Any]], spec: Input) -> onnx.ModelProto:
        """An int8 model with integer inputs and outputs: image 1 x H x W x 3, u8.

        Args:
            model: one input, 1 x 3 x H x W, normalised
            calibration: images of 1 x H x W x 3, u8
            spec: how a pixel becomes a real value
        """
        name = model.graph.input[0].name
        feeds = list(_feeds(name, calibration, spec))
        overrides: dict[str, list[dict[str, Any]]] = {
            name: [_range((0 - spec.mean) / spec.std, (255 - spec.mean) / spec.std)]
        }
        constants = {value.name for value in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type in ("Add", "Mul"):
                overrides |= {each: [{"quant_type": QuantType.QUInt8}] for each in node.input if each in constants}
        if self.foreign:
            model = onnx.ModelProto.FromString(model.SerializeToString())
            overrides = Scales(model, feeds, (1 / spec.std, round(spec.mean))).overrides() | overrides
        else:
            overrides |= {each: [_range(*limits)] for each, limits in shared_ranges(model, feeds).items()}
        for output, least in self.bounded_outputs.items():
            found = bounds(model, output)
            overrides |= {tensor: [_range(*limits)] for tensor, limits in found.items()}
            low, high = found[output]
            last = [
                node.input[0] for node in model.graph.node if node.output[0] == output and node.op_type == "ReduceMax"
            ]
            overrides |= {each: [_range(max(low, least), high)] for each in (output, *last)}
        for node in model.graph.node:
            if node.op_type == "Concat" and not self.foreign:  # only integers of one scale can stand beside each other
                shared = [_range(*bounds(model, node.output[0])[node.output[0]])]
                overrides |= dict.fromkeys((*node.input, *node.output), shared)

        copy = onnx.ModelProto.FromString(model.SerializeToString())  # what it is given loses its weights
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            root = logging.getLogger()  # through it comes the advice to do what was done already
            level, root.level = root.level, logging.ERROR
            try:
                quantize_static(
                    copy,
                    path,
                    _Reader(feeds),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    op_types_to_quantize=_KINDS,
                    calibrate_method=CalibrationMethod.MinMax,
                    extra_options={"TensorQuantOverrides": overrides},
                )
            finally:
                root.level = level
            quantised = onnx.load(path)
        return _integer_ends(quantised)


def _feeds(name: str, images: Iterable[NDArray[Any]], spec: Input) -> Iterator[dict[str, NDArray[Any]]]:
    for image in images:
        yield {name: ((image.astype(np.float32) - spec.mean) / spec.std).transpose(0, 3, 1, 2)}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterable[dict[str, NDArray[Any]]]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self.feeds, None)


def _range(low: float, high: float) -> dict[str, Any]:
    return {"rmin": np.float32(low), "rmax": np.float32(high)}


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
