"""Weight-only compression of a float TFLite file: int8 weights, a quarter of the bytes, the same float operators.

Each weight is stored as an integer times the scale of its output channel, symmetric, as in the integer files. A
DEQUANTIZE before the operator makes it float again when the model is loaded. All computation stays float.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from .writer import AlignedBuffer

_CODES = schema.BuiltinOperator
_OUTPUT_CHANNEL_AXES = {
    _CODES.CONV_2D: 0,
    _CODES.DEPTHWISE_CONV_2D: 3,
    _CODES.FULLY_CONNECTED: 0,
}
_MIN_WEIGHTS = 1024  # a smaller tensor does not justify an operator


def quantize_weights_only(file: bytes) -> bytes:
    """The file with int8 weights; tensors with few weights, or that are no constants, stay float."""
    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file, 0))
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = _CODES.DEQUANTIZE
    code.version = 5  # one scale per channel
    model.operatorCodes.append(code)
    for subgraph in model.subgraphs:
        compressed: set[int] = set()
        operators = []
        for operator in subgraph.operators:
            kind = codes[operator.opcodeIndex]
            weight = operator.inputs[1] if kind in _OUTPUT_CHANNEL_AXES else -1
            if weight >= 0 and weight not in compressed and _is_large_float_tensor(model, subgraph.tensors[weight]):
                compressed.add(weight)
                operators.append(_quantize_weight(model, subgraph, weight, _OUTPUT_CHANNEL_AXES[kind]))
            operators.append(operator)
        subgraph.operators = operators
    used = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    used |= {entry.buffer for entry in model.metadata or []}
    buffers = enumerate(model.buffers)
    model.buffers = [AlignedBuffer(data=_buffer_bytes(buffer) if index in used else None) for index, buffer in buffers]
    builder = flatbuffers.Builder(len(file))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _is_large_float_tensor(model: Any, tensor: Any) -> bool:
    data = _buffer_bytes(model.buffers[tensor.buffer])
    return tensor.type == schema.TensorType.FLOAT32 and data is not None and len(data) >= 4 * _MIN_WEIGHTS


def _buffer_bytes(buffer: Any) -> NDArray[np.uint8] | None:
    return None if buffer.data is None else np.asarray(buffer.data, np.uint8)


def _quantize_weight(model: Any, subgraph: Any, weight: int, axis: int) -> Any:
    """Store a weight as int8 in a new tensor and return the DEQUANTIZE that restores the old one.

    Args:
        model: the file's model; its last operator code is DEQUANTIZE
        subgraph: the subgraph of the weight
        weight: index of the weight's tensor
        axis: axis of its output channels
    """
    float_tensor = subgraph.tensors[weight]
    values = np.asarray(model.buffers[float_tensor.buffer].data, np.uint8).view(np.float32).reshape(float_tensor.shape)
    other_axes = tuple(number for number in range(values.ndim) if number != axis)
    scale = np.abs(values).max(axis=other_axes, keepdims=True).astype(np.float32) / np.float32(127)
    scale[scale == 0] = 1
    model.buffers.append(AlignedBuffer(data=np.rint(values / scale).astype(np.int8).ravel().view(np.uint8)))
    int8_tensor = schema.TensorT()
    int8_tensor.name, int8_tensor.shape, int8_tensor.hasRank = (
        float_tensor.name + b"/int8",
        list(float_tensor.shape),
        True,
    )
    int8_tensor.type, int8_tensor.buffer = schema.TensorType.INT8, len(model.buffers) - 1
    int8_tensor.quantization = schema.QuantizationParametersT()
    int8_tensor.quantization.scale = scale.ravel()
    int8_tensor.quantization.zeroPoint = np.zeros(scale.size, np.int64)
    int8_tensor.quantization.quantizedDimension = axis
    subgraph.tensors.append(int8_tensor)
    float_tensor.buffer = 0
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = [len(subgraph.tensors) - 1], [weight]
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    return operator
