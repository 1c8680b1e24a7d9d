"""The file itself: tensors, buffers and operators of one TFLite subgraph.

The FlatBuffers classes are those that ship with LiteRT, generated from TensorFlow's `schema.fbs`.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from ...graph import qdq
from . import layout
from .layout import Order

# The newest operator version that each layout below needs; tflite-runtime 2.14 knows all of them.
_VERSIONS = {
    "ADD": 2,
    "AVERAGE_POOL_2D": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "GATHER": 2,
    "LEAKY_RELU": 2,
    "LOGISTIC": 2,
    "MAX_POOL_2D": 2,
    "MIRROR_PAD": 2,
    "MUL": 2,
    "PAD": 2,
    "PADV2": 2,
    "REDUCE_MAX": 2,
    "RELU": 2,
    "RESHAPE": 1,
    "RESIZE_BILINEAR": 3,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "SLICE": 2,
    "SOFTMAX": 2,
    "SPACE_TO_DEPTH": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "TANH": 2,
    "TRANSPOSE": 2,
}
_TYPES = {np.dtype(np.int8): schema.TensorType.INT8, np.dtype(np.int32): schema.TensorType.INT32}
_ALIGNMENT = 16


class Buffer(schema.BufferT):  # type: ignore[misc]
    """Constant data, aligned as the schema asks (`force_align: 16`), which the generated Python code does not do."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802  # the generated name
        vector = None
        if self.data is not None:
            data = self.data.tobytes()
            builder.StartVector(1, len(data), _ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


class Writer:
    """Collects one subgraph. Indices are TFLite's: positions in the lists of tensors, buffers and operator codes."""

    def __init__(self) -> None:
        self.subgraph = schema.SubGraphT()
        self.subgraph.tensors = []
        self.subgraph.operators = []
        self.buffers: list[Any] = [Buffer()]  # by convention the first is empty and stands for "no data"
        self.codes: dict[str, int] = {}
        self.indices: dict[tuple[str, Order], int] = {}
        self.orders: dict[str, Order] = {}

    def activation(self, tensor: qdq.Tensor, order: Order | None = None) -> int:
        """The index of an activation in `order`, the usual one unless told otherwise; u8 becomes s8.

        It is made on first sight; where it is there in another order, its bytes are moved.
        """
        order = order or layout.usual(len(tensor.shape))
        if tensor.name not in self.orders:
            self.orders[tensor.name] = order
            self.indices[tensor.name, order] = self.intermediate(tensor, tensor.name, layout.laid(tensor.shape, order))
        if (tensor.name, order) not in self.indices:
            self.indices[tensor.name, order] = self._moved(tensor, order)
        return self.indices[tensor.name, order]

    def order(self, tensor: qdq.Tensor) -> Order:
        """The order in which an activation is there already, or else the usual one."""
        return self.orders.get(tensor.name, layout.usual(len(tensor.shape)))

    def alias(self, tensor: qdq.Tensor, same: qdq.Tensor, order: Order) -> None:
        """`tensor` in `order` has the bytes of `same`: the operator between them does nothing."""
        self.orders[tensor.name] = order
        self.indices[tensor.name, order] = self.activation(same, self.order(same))

    def reshape(self, source: int, result: int) -> None:
        """The same bytes with the shape that `result` has."""
        shape = self.subgraph.tensors[result].shape
        options = schema.ReshapeOptionsT()
        options.newShape = shape
        where = self.constant(f"{self.subgraph.tensors[result].name}/shape", np.array(shape, np.int32))
        self.operator("RESHAPE", [source, where], [result], options)

    def _moved(self, tensor: qdq.Tensor, order: Order) -> int:
        before = self.orders[tensor.name]
        source = self.indices[tensor.name, before]
        shape = layout.laid(tensor.shape, order)
        result = self.intermediate(tensor, f"{tensor.name}/{''.join(map(str, order))}", shape)
        if layout.moves(tensor.shape, before, order):
            perm = np.array([before.index(axis) for axis in order], np.int32)
            where = self.constant(f"{tensor.name}/perm", perm)
            self.operator("TRANSPOSE", [source, where], [result], schema.TransposeOptionsT())
        else:
            self.reshape(source, result)
        return result

    def constant(
        self,
        name: str,
        data: NDArray[Any],
        scale: NDArray[np.float32] | None = None,
        zero_point: NDArray[np.int64] | None = None,
        channel_axis: int = 0,
    ) -> int:
        self.buffers.append(Buffer(data=np.ascontiguousarray(data)))
        return self._tensor(name, data.shape, data.dtype, len(self.buffers) - 1, scale, zero_point, channel_axis)

    def intermediate(self, like: qdq.Tensor, name: str, shape: tuple[int, ...]) -> int:
        """An activation that ONNX does not have, with the parameters of `like`; `shape` as in the file."""
        return self._tensor(name, shape, np.dtype(np.int8), 0, like.scale, like.zero_point - 128)

    def operator(self, code: str, inputs: list[int], outputs: list[int], options: Any = None) -> None:
        op = schema.OperatorT()
        op.opcodeIndex = self.codes.setdefault(code, len(self.codes))
        op.inputs, op.outputs = inputs, outputs
        if options is not None:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            op.builtinOptions = options
        self.subgraph.operators.append(op)

    def finish(self, graph: qdq.Graph) -> bytes:
        self.subgraph.inputs = [self.activation(tensor, self.order(tensor)) for tensor in graph.inputs]
        self.subgraph.outputs = []
        for tensor in graph.outputs:
            self.subgraph.outputs.append(self._output(tensor))
        model = schema.ModelT()
        model.version = 3
        model.description = "vedette"
        model.subgraphs = [self.subgraph]
        model.buffers = self.buffers
        model.operatorCodes = [self._code(name) for name in self.codes]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _output(self, tensor: qdq.Tensor) -> int:
        """An output has the bytes that it has in ONNX, and its name there."""
        order, plain = self.order(tensor), tuple(range(len(tensor.shape)))
        index = self.activation(tensor, plain if layout.moves(tensor.shape, order, plain) else order)
        if index in (*self.subgraph.inputs, *self.subgraph.outputs):
            source, index = index, self.intermediate(tensor, tensor.name, tensor.shape)
            self.reshape(source, index)
        for other in self.subgraph.tensors:
            if other.name == tensor.name:
                other.name = f"{tensor.name}/as stored"
        self.subgraph.tensors[index].name = tensor.name
        return index

    @staticmethod
    def _code(name: str) -> Any:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = _VERSIONS[name]
        return code

    def _tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        buffer: int,
        scale: NDArray[np.float32] | None = None,
        zero_point: NDArray[np.int64] | None = None,
        channel_axis: int = 0,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name = name
        tensor.shape = list(shape)
        tensor.type = _TYPES[dtype]
        tensor.buffer = buffer
        tensor.hasRank = True
        if scale is not None and zero_point is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.asarray(scale, np.float32)
            tensor.quantization.zeroPoint = np.asarray(zero_point, np.int64)
            tensor.quantization.quantizedDimension = channel_axis if len(scale) > 1 else 0
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1


def write(model: onnx.ModelProto) -> bytes:
    """A TFLite file that computes the integers of the QDQ model `model`.

    Raises:
        Problem: the graph holds an operator that has no integer twin here; the message names the node.
    """
    from .operators import OPERATORS, unknown

    graph = qdq.read(model)
    writer = Writer()
    for tensor in graph.inputs:  # made for the camera: N x H x W x C already
        writer.activation(tensor, tuple(range(len(tensor.shape))))
    for node in graph.nodes:
        OPERATORS.get(node.kind, unknown)(writer, node)
    return writer.finish(graph)
