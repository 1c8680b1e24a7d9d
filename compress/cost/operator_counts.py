"""What a model has to do, operator by operator, read from its graph; and what that costs on a device.

A float graph and its quantised twin do the same work in another precision, so the cost of an int8 model is known
before anything is quantised: a search can look before it leaps. In a quantised graph (QDQ) an operator is one of
integers where its inputs come from DequantizeLinear and its outputs become integers again: the back ends fuse the
three. What is left over computes in float, and the changes between the two are work of their own. What is turned
or padded without the graph's saying so is told by moves.py.

Imprecise: which operators a back end fuses differs between them and their versions; here a Clip or Relu behind a
convolution or an addition costs nothing, and everything else costs what its kind does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

import msgspec
import onnx
from onnx import TensorProto

from vedette.devices import DeviceProfile
from vedette.devices.cost_model import Kind, Precision, Prediction, Work

from . import layout_transforms
from .operator_classes import attribute, depthwise, plain, stem

_PRODUCTS = ("Conv", "Gemm", "MatMul")
_FUSED = ("Clip", "Relu")
_NOTHING = ("Constant", "Shape")
_FREE = (*layout_transforms.RESHAPES, *_NOTHING, "Identity", "Dropout")
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
    works = list(_Reader(graph, backend, precision).works())
    if precision is None:
        return works
    works = [msgspec.structs.replace(work, precision=precision) for work in works]
    return of_backend(works, backend) if precision == "int8" else works


def of_backend(works: Iterable[Work], backend: str) -> list[Work]:
    """The work of integer operators in a back end: ONNX Runtime reduces in float, with a change before and after.

    In a quantised graph these are read where they stand, so it is not for what was read from one.
    """
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
    def __init__(self, model: onnx.ModelProto, backend: str, precision: Precision | None = None) -> None:
        graph = onnx.shape_inference.infer_shapes(model).graph
        self.backend = backend
        quantised = any(node.op_type in _CHANGES for node in graph.node)
        self.whole = backend == "tflite" and quantised
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
        self.orders = layout_transforms.Orders(
            self.shapes, backend, backend == "tflite" or quantised or precision == "int8"
        )
        for name in self.given:
            self.orders.given(name)
        self.ends = [value.name for value in graph.output]
        self.producers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def works(self) -> Iterator[Work]:
        """That of each operator, with what is moved for it, in the order of the graph."""
        precision: Precision = "int8" if self.whole or self.backend == "onnx" else "float32"  # ONNX's floats stay put
        for node in self.nodes:
            data = self._data(node)
            if data and node.op_type not in _NOTHING:
                turns = self.orders.before(node, data)
                yield from (msgspec.structs.replace(each, precision=precision) for each in turns)
                yield from self._works(node, data)
        for name in self.ends:
            yield from (msgspec.structs.replace(each, precision=precision) for each in self.orders.end(name))

    def _works(self, node: onnx.NodeProto, data: list[str]) -> Iterator[Work]:
        work = self._work(node, data)
        if work is None:
            return
        if self.backend == "tflite" and node.op_type == "MaxPool":
            yield from layout_transforms.padding(node, self.shapes[node.input[0]], work.precision)
        yield from self.orders.cuts(node, work.precision) if node.op_type in layout_transforms.CUTS else (work,)

    def _work(self, node: onnx.NodeProto, data: list[str]) -> Work | None:
        """None: it costs nothing."""
        if node.op_type in _FREE or (node.op_type in _FUSED and self._follows(node)):
            return None
        if node.op_type in _CHANGES:
            return None if self.whole or self._belongs(node) else self._plain("change", "int8", node, data)
        precision: Precision = "int8" if self.whole or self._is_integer(node, data) else "float32"
        if node.op_type in _PRODUCTS:
            return self._product(node, precision)
        if node.op_type == "Transpose":
            return self._turned(node, precision)
        work = self._plain(plain(node, data), precision, node, data)
        if work.kind == "pool":
            source, result = (self.shapes[name] for name in (node.input[0], node.output[0]))
            work = msgspec.structs.replace(
                work, reads=layout_transforms.patches(node, source, result, self.backend == "onnx")
            )
        return work

    def _turned(self, node: onnx.NodeProto, precision: Precision) -> Work | None:
        if self.backend == "tflite" or node.input[0] in self.given:
            return None  # only the name of an axis changes there, until somebody needs another order
        source = self.shapes[node.input[0]]
        axes = tuple(range(len(source)))
        return layout_transforms.turned(source, axes, tuple(attribute(node, "perm", axes[::-1])), precision)

    def _plain(self, kind: Kind, precision: Precision, node: onnx.NodeProto, data: list[str]) -> Work:
        channels, places = _parted(self.shapes[node.output[0]])
        return Work(kind, precision, places, channels, reads=sum(prod(self.shapes[name]) for name in data))

    def _product(self, node: onnx.NodeProto, precision: Precision) -> Work:
        source, shape = (self.shapes[name] for name in (node.input[0], node.output[0]))
        if node.op_type != "Conv":
            outputs, inputs = shape[-1], source[-1]
            return Work("pointwise", precision, prod(shape[:-1]), outputs, inputs, 1, prod(source))
        weight = self.shapes[node.input[1]]
        outputs, places = _parted(shape)
        inputs, taps = weight[1], prod(weight[2:])
        if inputs == 1 and attribute(node, "group", 1) > 1:
            strides = attribute(node, "strides", [1])
            return Work(depthwise(outputs, taps, max(strides)), precision, places, outputs, 1, taps, prod(source))
        kind: Kind = "pointwise" if taps == 1 else stem(source[1], taps) if source[1] <= 4 else "dense"
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


def _parted(shape: tuple[int, ...]) -> tuple[int, int]:
    """Channels and places of N x C x … with N = 1."""
    return (shape[1], prod(shape[2:])) if len(shape) > 2 else (prod(shape), 1)
