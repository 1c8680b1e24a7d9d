"""Builds a TFLite file with one subgraph: tensors, buffers and operators.

The FlatBuffers classes are those that ship with LiteRT, generated from TensorFlow's `schema.fbs`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from ...graph import qdq
from . import layout
from .layout import AxisOrder

_OPERATOR_VERSIONS = {
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
"""Operator version that the options written here need; tflite-runtime 2.14 supports all of them."""
_TENSOR_TYPES = {np.dtype(np.int8): schema.TensorType.INT8, np.dtype(np.int32): schema.TensorType.INT32}
_ALIGNMENT = 16
_ACTIVATING_OPERATORS = ("ADD", "CONV_2D", "DEPTHWISE_CONV_2D")


class AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """Constant data, aligned to 16 bytes as the schema requires (`force_align: 16`); the generated code does not."""

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


class SubgraphWriter:
    """Collects the tensors and operators of one subgraph.

    Indices are TFLite's: positions in the lists of tensors, buffers and operator codes.

    Args:
        readers: how often each activation is read, as an output of the graph, too
    """

    def __init__(self, readers: Counter[str]) -> None:
        self.readers = readers
        self.subgraph = schema.SubGraphT()
        self.subgraph.tensors = []
        self.subgraph.operators = []
        self.buffers: list[Any] = [AlignedBuffer()]  # the first buffer is empty by convention: "no data"
        self.codes: dict[str, int] = {}
        self.indices: dict[tuple[str, AxisOrder], int] = {}
        self.orders: dict[str, AxisOrder] = {}

    def add_activation(self, tensor: qdq.QuantizedTensor, order: AxisOrder | None = None) -> int:
        """Index of an activation in `order`; uint8 becomes int8.

        Adds the tensor if it is new, and a transposition if it exists in another order.

        Args:
            tensor: the activation
            order: order of its axes in the file; None: the default order of the kernels
        """
        order = order or layout.default_order(len(tensor.shape))
        if tensor.name not in self.orders:
            self.orders[tensor.name] = order
            self.indices[tensor.name, order] = self.add_intermediate(
                tensor, tensor.name, layout.permute_axes(tensor.shape, order)
            )
        if (tensor.name, order) not in self.indices:
            self.indices[tensor.name, order] = self._add_permuted(tensor, order)
        return self.indices[tensor.name, order]

    def current_order(self, tensor: qdq.QuantizedTensor) -> AxisOrder:
        """Order in which an activation was added, or the default order if it is new."""
        return self.orders.get(tensor.name, layout.default_order(len(tensor.shape)))

    def alias_tensor(self, tensor: qdq.QuantizedTensor, source: qdq.QuantizedTensor, order: AxisOrder) -> None:
        """Let `tensor` in `order` share the bytes of `source`; the operator between them is not written."""
        self.orders[tensor.name] = order
        self.indices[tensor.name, order] = self.add_activation(source, self.current_order(source))

    def fuse_relu(self, tensor: qdq.QuantizedTensor) -> bool:
        """Let the operator that computes `tensor` set what is negative to zero.

        Returns:
            Whether it can: it has such an option, and nobody else reads what it computes without.
        """
        index = self.indices.get((tensor.name, self.current_order(tensor)))
        makers = [op for op in self.subgraph.operators if index in op.outputs]
        fusing = [self.codes[code] for code in _ACTIVATING_OPERATORS if code in self.codes]
        if not makers or makers[0].opcodeIndex not in fusing or self.readers[tensor.name] != 1:
            return False
        if self.subgraph.tensors[index].name != tensor.name:  # others read the same bytes by other names
            return False
        makers[0].builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
        return True

    def add_reshape(self, source: int, result: int) -> None:
        """Add a RESHAPE from tensor `source` to tensor `result`."""
        shape = self.subgraph.tensors[result].shape
        options = schema.ReshapeOptionsT()
        options.newShape = shape
        constant = self.add_constant(f"{self.subgraph.tensors[result].name}/shape", np.array(shape, np.int32))
        self.add_operator("RESHAPE", [source, constant], [result], options)

    def _add_permuted(self, tensor: qdq.QuantizedTensor, order: AxisOrder) -> int:
        """Copy an activation to another order, by TRANSPOSE or, if no byte moves, by RESHAPE."""
        before = self.orders[tensor.name]
        source = self.indices[tensor.name, before]
        shape = layout.permute_axes(tensor.shape, order)
        result = self.add_intermediate(tensor, f"{tensor.name}/{''.join(map(str, order))}", shape)
        if layout.changes_bytes(tensor.shape, before, order):
            perm = np.array([before.index(axis) for axis in order], np.int32)
            constant = self.add_constant(f"{tensor.name}/perm", perm)
            self.add_operator("TRANSPOSE", [source, constant], [result], schema.TransposeOptionsT())
        else:
            self.add_reshape(source, result)
        return result

    def add_constant(
        self,
        name: str,
        data: NDArray[Any],
        scale: NDArray[np.float32] | None = None,
        zero_point: NDArray[np.int64] | None = None,
        channel_axis: int = 0,
    ) -> int:
        """Index of a new constant.

        Args:
            name: name in the file
            data: int8 or int32 values in the order of the file
            scale: one number or one per channel; None: not quantized
            zero_point: as many numbers as `scale`
            channel_axis: axis of the channels in the file
        """
        self.buffers.append(AlignedBuffer(data=np.ascontiguousarray(data)))
        return self._add_tensor(name, data.shape, data.dtype, len(self.buffers) - 1, scale, zero_point, channel_axis)

    def add_intermediate(self, like: qdq.QuantizedTensor, name: str, shape: tuple[int, ...]) -> int:
        """Index of a new int8 activation with the quantization parameters of `like`; `shape` is that of the file."""
        return self._add_tensor(name, shape, np.dtype(np.int8), 0, like.scale, like.zero_point - 128)

    def add_operator(self, code: str, inputs: list[int], outputs: list[int], options: Any = None) -> None:
        """Add an operator; `code` is its name in the schema's enumeration BuiltinOperator."""
        op = schema.OperatorT()
        op.opcodeIndex = self.codes.setdefault(code, len(self.codes))
        op.inputs, op.outputs = inputs, outputs
        if options is not None:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            op.builtinOptions = options
        self.subgraph.operators.append(op)

    def serialize(self, graph: qdq.QDQGraph) -> bytes:
        """Bytes of the file, with the inputs and outputs of `graph`."""
        self.subgraph.inputs = [self.add_activation(tensor, self.current_order(tensor)) for tensor in graph.inputs]
        self.subgraph.outputs = []
        for tensor in graph.outputs:
            self.subgraph.outputs.append(self._add_output(tensor))
        model = schema.ModelT()
        model.version = 3
        model.description = "vedette"
        model.subgraphs = [self.subgraph]
        model.buffers = self.buffers
        model.operatorCodes = [self._operator_code(name) for name in self.codes]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _add_output(self, tensor: qdq.QuantizedTensor) -> int:
        """Index of an output, with the bytes and the name that it has in ONNX."""
        order, onnx_order = self.current_order(tensor), tuple(range(len(tensor.shape)))
        index = self.add_activation(
            tensor, onnx_order if layout.changes_bytes(tensor.shape, order, onnx_order) else order
        )
        if index in (*self.subgraph.inputs, *self.subgraph.outputs):
            source, index = index, self.add_intermediate(tensor, tensor.name, tensor.shape)
            self.add_reshape(source, index)
        for other in self.subgraph.tensors:
            if other.name == tensor.name:
                other.name = f"{tensor.name}/as stored"
        self.subgraph.tensors[index].name = tensor.name
        return index

    @staticmethod
    def _operator_code(name: str) -> Any:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = _OPERATOR_VERSIONS[name]
        return code

    def _add_tensor(
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
        tensor.type = _TENSOR_TYPES[dtype]
        tensor.buffer = buffer
        tensor.hasRank = True
        if scale is not None and zero_point is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.asarray(scale, np.float32)
            tensor.quantization.zeroPoint = np.asarray(zero_point, np.int64)
            tensor.quantization.quantizedDimension = channel_axis if len(scale) > 1 else 0
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1
