"""What a model has to do, operator by operator, read from its graph; and what that costs on a device.

A float graph and its quantised twin do the same work in another precision, so the cost of an int8 model is known
before anything is quantised: a search can look before it leaps. In a quantised graph (QDQ) an operator is one of
integers where its inputs come from DequantizeLinear and its outputs become integers again: the back ends fuse the
three. What is left over computes in float, and the changes between the two are work of their own.

Imprecise: which operators a back end fuses differs between them and their versions; here a Clip or Relu behind a
convolution or an addition costs nothing, and everything else costs what its kind does.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import msgspec
import onnx
from onnx import TensorProto

from vedette.devices import DeviceProfile
from vedette.devices.cost import Kind, Precision, Prediction, Work

_PRODUCTS = ("Conv", "Gemm", "MatMul")
_FUSED = ("Clip", "Relu")
_COPIES = ("Concat", "Transpose", "Pad", "Slice", "Split", "DepthToSpace", "SpaceToDepth", "Gather")
_REDUCES = ("Max", "Mean", "Sum", "L1", "L2", "Min", "Prod")
_REDUCED = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", *(f"Reduce{each}" for each in _REDUCES))
_RESIZES = ("Resize", "Upsample")
_FREE = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Constant", "Shape", "Dropout")
_CHANGES = ("QuantizeLinear", "DequantizeLinear")


def predict(
    profile: DeviceProfile, graph: onnx.ModelProto, backend: str, precision: Precision | None = None
) -> Prediction | None:
    """What one inference of `graph` costs on a device, on one thread.

    Args:
        profile: the device
        graph: a float model, or an int8 one as QDQ, for images of one size
        backend: `onnx` or `tflite`, as the manifest calls them
        precision: that of a float graph once it is quantised; None: what the graph holds

    Returns:
        None where the profile does not know what that back end costs, or one of the operators.
    """
    return profile.predict(backend, of(graph, backend, precision))


def of(graph: onnx.ModelProto, backend: str = "onnx", precision: Precision | None = None) -> list[Work]:
    """The work of each operator, in the order of the graph; the arguments are those of `predict`."""
    reader = _Reader(graph, backend)
    works = [work for node in reader.nodes if (work := reader.work(node)) is not None]
    if precision is None:
        return works
    works = [msgspec.structs.replace(work, precision=precision) for work in works]
    return of_backend(works, backend) if precision == "int8" else works


def of_backend(works: Iterable[Work], backend: str) -> list[Work]:
    """The work of integer operators in a back end: ONNX Runtime reduces in float, with a change before and after."""
    found: list[Work] = []
    for work in works:
        if backend == "onnx" and work.kind == "reduce":
            before = work.reads // work.elements  # elements that each element of the result is made of
            change = Work("change", "int8", work.places, work.outputs, reads=work.elements)
            entry = msgspec.structs.replace(change, outputs=before * work.outputs, reads=work.reads)
            found += [entry, msgspec.structs.replace(work, precision="float32"), change]
        else:
            found.append(work)
    return found


def macs(graph: onnx.ModelProto) -> int:
    """Multiply-accumulates of one image."""
    return sum(work.macs for work in of(graph))


class _Reader:
    def __init__(self, model: onnx.ModelProto, backend: str) -> None:
        graph = onnx.shape_inference.infer_shapes(model).graph
        self.backend = backend
        self.whole = backend == "tflite" and any(node.op_type in _CHANGES for node in graph.node)
        self.shapes = {value.name: tuple(value.dims) for value in graph.initializer}
        self.integers = {v.name for v in graph.initializer if v.data_type in (TensorProto.INT8, TensorProto.UINT8)}
        for value in (*graph.input, *graph.output, *graph.value_info):
            self.shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        self.given = {value.name for value in graph.input}
        self.integers |= {v.name for v in graph.input if v.type.tensor_type.elem_type == TensorProto.UINT8}
        self.constants = {value.name for value in graph.initializer}
        for node in graph.node:  # constants are changed when the model is loaded
            if node.op_type in (*_CHANGES, "Constant") and set(node.input) <= self.constants:
                self.constants |= set(node.output)
        self.nodes = graph.node
        self.producers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def work(self, node: onnx.NodeProto) -> Work | None:
        """None: it costs nothing."""
        data = [name for name in node.input if name and name not in self.constants]
        if not data or node.op_type in _FREE:
            return None
        shape = self.shapes[node.output[0]]
        if node.op_type in _CHANGES:
            return None if self.whole or self._belongs(node) else self._plain("change", "int8", node, data)
        precision: Precision = "int8" if self.whole or self._is_integer(node, data) else "float32"
        if node.op_type in _PRODUCTS:
            return self._product(node, precision, shape)
        if node.op_type in _FUSED and self._follows(node):
            return None
        if node.op_type == "Transpose" and (self.backend == "tflite" or node.input[0] in self.given):
            return None  # the layout of LiteRT is the other one, and so is that of integer convolutions in ONNX Runtime
        kinds: dict[Kind, tuple[str, ...]] = {"copy": _COPIES, "resize": _RESIZES, "reduce": _REDUCED}
        found = [kind for kind, names in kinds.items() if node.op_type in names]
        return self._plain(found[0] if found else "elementwise", precision, node, data)

    def _plain(self, kind: Kind, precision: Precision, node: onnx.NodeProto, data: list[str]) -> Work:
        channels, places = _parted(self.shapes[node.output[0]])
        return Work(kind, precision, places, channels, reads=sum(prod(self.shapes[name]) for name in data))

    def _product(self, node: onnx.NodeProto, precision: Precision, shape: tuple[int, ...]) -> Work:
        source = self.shapes[node.input[0]]
        if node.op_type != "Conv":
            outputs, inputs = shape[-1], source[-1]
            return Work("pointwise", precision, prod(shape[:-1]), outputs, inputs, 1, prod(source))
        weight = self.shapes[node.input[1]]
        outputs, places = _parted(shape)
        inputs, taps = weight[1], prod(weight[2:])
        if inputs == 1 and _attribute(node, "group", 1) > 1:
            strides = _attribute(node, "strides", [1])
            return Work(depthwise(outputs, taps, max(strides)), precision, places, outputs, 1, taps, prod(source))
        kind: Kind = "pointwise" if taps == 1 else "stem" if source[1] <= 4 else "dense"
        return Work(kind, precision, places, outputs, inputs, taps, places * taps * inputs)

    def _is_integer(self, node: onnx.NodeProto, data: list[str]) -> bool:
        """Whether it is handed integers, as they are or dequantised, and what it makes becomes integers."""
        given = all(name in self.integers or self._made_by(name, "DequantizeLinear") for name in data)
        if given and any(name in self.integers for name in data):
            self.integers |= set(node.output)  # it hands integers on as they are
            return True
        if self.backend == "onnx" and node.op_type.startswith("Reduce"):
            return False  # ONNX Runtime reduces integers where it is handed them, but fuses nothing with it
        readers = self.readers.get(node.output[0], [])
        return given and all(each.op_type in ("QuantizeLinear", *_FUSED) for each in readers)

    def _made_by(self, name: str, kind: str) -> bool:
        return name in self.producers and self.producers[name].op_type == kind

    def _belongs(self, node: onnx.NodeProto) -> bool:
        """Whether a change of precision is fused with the operators beside it."""
        if node.op_type == "QuantizeLinear":
            self.integers |= set(node.output)
            maker = self.producers.get(node.input[0])
            return maker is not None and self._is_integer(maker, self._data(maker))
        readers = self.readers.get(node.output[0], [])
        return bool(readers) and all(self._is_integer(each, self._data(each)) for each in readers)

    def _data(self, node: onnx.NodeProto) -> list[str]:
        return [name for name in node.input if name and name not in self.constants]

    def _follows(self, node: onnx.NodeProto) -> bool:
        maker = self.producers.get(node.input[0])
        alone = len(self.readers[node.input[0]]) == 1
        return alone and maker is not None and maker.op_type in ("Conv", "Add", "Gemm")


def depthwise(channels: int, taps: int, stride: int) -> Kind:
    """The kind of a depthwise convolution of so many taps."""
    if taps > 25:
        return "whole"
    if channels % 8:
        return "depthwise-ragged"
    if taps == 1:
        return "depthwise-1"
    if taps <= 9:
        return "depthwise-3" if stride == 1 else "depthwise-3-strided"
    return "depthwise-5" if stride == 1 else "depthwise-5-strided"


def _parted(shape: tuple[int, ...]) -> tuple[int, int]:
    """Channels and places of N x C x … with N = 1."""
    return (shape[1], prod(shape[2:])) if len(shape) > 2 else (prod(shape), 1)


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
