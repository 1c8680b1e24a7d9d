"""A float TFLite file with its weights as int8: a quarter of the bytes, the same operators.

Each weight is an integer times the scale of its output channel, symmetric, as in our integer files; a DEQUANTIZE before
the operator makes it float again when the model is loaded. What is computed stays float.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from .writer import Buffer

_CODES = schema.BuiltinOperator
_AXES = {_CODES.CONV_2D: 0, _CODES.DEPTHWISE_CONV_2D: 3, _CODES.FULLY_CONNECTED: 0}  # of the output channels
_LEAST = 1024  # weights: fewer are not worth an operator


def shrink(file: bytes) -> bytes:
    """The same model; what has few weights, or none that are constant, stays as it is."""
    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file, 0))
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = _CODES.DEQUANTIZE
    code.version = 5  # one scale for each channel
    model.operatorCodes.append(code)
    for subgraph in model.subgraphs:
        ready: set[int] = set()
        operators = []
        for operator in subgraph.operators:
            kind = codes[operator.opcodeIndex]
            weight = operator.inputs[1] if kind in _AXES else -1
            if weight >= 0 and weight not in ready and _large(model, subgraph.tensors[weight]):
                ready.add(weight)
                operators.append(_dequantised(model, subgraph, weight, _AXES[kind]))
            operators.append(operator)
        subgraph.operators = operators
    used = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    used |= {each.buffer for each in model.metadata or []}
    held = enumerate(model.buffers)
    model.buffers = [Buffer(data=_bytes(each) if number in used else None) for number, each in held]
    builder = flatbuffers.Builder(len(file))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _large(model: Any, tensor: Any) -> bool:
    data = _bytes(model.buffers[tensor.buffer])
    return tensor.type == schema.TensorType.FLOAT32 and data is not None and len(data) >= 4 * _LEAST


def _bytes(buffer: Any) -> NDArray[np.uint8] | None:
    return None if buffer.data is None else np.asarray(buffer.data, np.uint8)


def _dequantised(model: Any, subgraph: Any, weight: int, axis: int) -> Any:
    """The operator that makes the weights float; they get a tensor of their own."""
    real = subgraph.tensors[weight]
    values = np.asarray(model.buffers[real.buffer].data, np.uint8).view(np.float32).reshape(real.shape)
    others = tuple(each for each in range(values.ndim) if each != axis)
    scale = np.abs(values).max(axis=others, keepdims=True).astype(np.float32) / np.float32(127)
    scale[scale == 0] = 1
    model.buffers.append(Buffer(data=np.rint(values / scale).astype(np.int8).ravel().view(np.uint8)))
    stored = schema.TensorT()
    stored.name, stored.shape, stored.hasRank = real.name + b"/int8", list(real.shape), True
    stored.type, stored.buffer = schema.TensorType.INT8, len(model.buffers) - 1
    stored.quantization = schema.QuantizationParametersT()
    stored.quantization.scale = scale.ravel()
    stored.quantization.zeroPoint = np.zeros(scale.size, np.int64)
    stored.quantization.quantizedDimension = axis
    subgraph.tensors.append(stored)
    real.buffer = 0
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = [len(subgraph.tensors) - 1], [weight]
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    return operator
