"""Reads a quantized TFLite SSD as a float ONNX graph, so that it is imported like any other detector.

Weights and biases get their real values and activations become float. Where a quantization range stands for a ReLU or
a ReLU6, as TensorFlow's converter writes it, a Clip is added. The float graph computes what the file's integers were
rounded from, except for the rounding of the weights, which is lost.

Supported are the operators of an SSD before its post-processing: convolutions, reshapes, concatenations and sigmoids.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from vedette.runtime.bundle.tflite_checks import check_tflite_file
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.process_limits import read_memory_limit

_HINT = "use a quantized SSD of the TensorFlow Object Detection API; import float weights with model.onnx"
_OPERATOR_NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
_DTYPES = {schema.TensorType.UINT8: np.uint8, schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}
_HEAD_OPERATORS = ("RESHAPE", "CONCATENATION", "LOGISTIC", "DEQUANTIZE", "SQUEEZE")
"""Operators between the last convolutions and the post-processing."""
_ACTIVATION_LIMITS = {1: (0.0, None), 3: (0.0, 6.0)}
"""Limits of the fused activation functions RELU and RELU6, by number in the schema."""


def read_tflite_ssd(path: Path) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
    """Read the network up to the convolutions for boxes and classes, and the anchors.

    Returns:
        Float ONNX model (1 x 3 x H x W) and anchors (n x 4: y, x, height, width).

    Raises:
        ConfigProblem: the file is no quantized TFLite SSD
    """
    try:
        data = path.read_bytes()
        check_tflite_file(data, read_memory_limit(), custom_operators=True)
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    except (OSError, struct.error, IndexError, ValueError, TypeError) as error:
        raise ConfigProblem(f"{path}: not a usable TFLite file: {error}", hint=_HINT) from None
    return _SsdReader(path, model).read_graph()


class _SsdReader:
    """Converts one TFLite SSD; tensors are named `tN` by their index N in the file."""

    def __init__(self, path: Path, model: Any) -> None:
        self.path, self.model, self.graph = path, model, model.subgraphs[0]
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def read_graph(self) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
        """The float ONNX model and the anchors."""
        anchors, head_tensors = None, set()
        outputs: list[str] = []
        for operator in self.graph.operators:
            code = self.model.operatorCodes[operator.opcodeIndex]
            kind = _OPERATOR_NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")
            if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                self._convert_convolution(operator, depthwise=kind.startswith("DEPTHWISE"))
            elif kind in _HEAD_OPERATORS:
                head_tensors.update(operator.outputs)
                sources = [each for each in operator.inputs if each not in head_tensors and not self._is_constant(each)]
                outputs += [name for name in map(_tensor_name, sources) if name not in outputs]
            elif kind == "CUSTOM" and b"Detection_PostProcess" in bytes(code.customCode):
                anchors = self._read_constant(operator.inputs[2])
            else:
                raise ConfigProblem(f"{self.path}: the operator {kind} is not supported", hint=_HINT)
        if anchors is None or len(self.graph.inputs) != 1:
            raise ConfigProblem(f"{self.path}: no SSD post-processing in the file", hint=_HINT)
        input_index = self.graph.inputs[0]
        _, height, width, channels = (int(size) for size in self.graph.tensors[input_index].shape)
        shape = [1, channels, height, width]
        image = helper.make_tensor_value_info(_tensor_name(input_index), onnx.TensorProto.FLOAT, shape)
        values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "ssd", [image], values, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), anchors

    def _convert_convolution(self, operator: Any, depthwise: bool) -> None:
        """Add a Conv, and a Clip if the file limits its result."""
        source, weight, bias = operator.inputs
        result, options, values = operator.outputs[0], operator.builtinOptions, self._read_constant(weight)
        name = _tensor_name(result)
        if depthwise and options.depthMultiplier != 1:
            raise ConfigProblem(f"{self.path}: {name} has a depth multiplier other than 1", hint=_HINT)
        values = values.transpose(3, 0, 1, 2) if depthwise else values.transpose(0, 3, 1, 2)
        kernel, stride = values.shape[2:], (int(options.strideH), int(options.strideW))
        dilation = int(options.dilationHFactor), int(options.dilationWFactor)
        pads = [0, 0, 0, 0]
        if options.padding == schema.Padding.SAME:
            for axis in (0, 1):
                before, after = (int(self.graph.tensors[each].shape[1 + axis]) for each in (source, result))
                total = max(0, (after - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 - before)
                pads[axis], pads[2 + axis] = total // 2, total - total // 2
        limits = self._find_limits(result, options.fusedActivationFunction)
        conv_result = f"{name}/sum" if limits else name
        inputs = [_tensor_name(source), self._add_initializer(f"{name}/weight", values)]
        inputs.append(self._add_initializer(f"{name}/bias", self._read_constant(bias)))
        attributes: dict[str, Any] = {
            "pads": pads,
            "strides": stride,
            "dilations": dilation,
            "group": len(values) if depthwise else 1,
        }
        self.nodes.append(helper.make_node("Conv", inputs, [conv_result], name=f"{name}/conv", **attributes))
        if limits:
            bounds = [
                "" if limit is None else self._add_initializer(f"{name}/{key}", np.array(limit, np.float32))
                for key, limit in zip(("low", "high"), limits, strict=True)
            ]
            self.nodes.append(helper.make_node("Clip", [conv_result, *bounds], [name], name=f"{name}/clip"))

    def _find_limits(self, tensor: int, activation: int) -> tuple[float, float | None] | None:
        """Limits of a tensor by its fused activation function, or by a quantization range that starts at 0."""
        if activation in _ACTIVATION_LIMITS:
            return _ACTIVATION_LIMITS[activation]
        parameters = self.graph.tensors[tensor].quantization
        if activation or int(parameters.zeroPoint[0]) != np.iinfo(self._integer_dtype(tensor)).min:
            return None
        maximum = 255 * float(parameters.scale[0])
        return (0.0, 6.0) if abs(maximum - 6) < 0.05 else (0.0, None)

    def _add_initializer(self, name: str, values: NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def _is_constant(self, tensor: int) -> bool:
        return self.model.buffers[self.graph.tensors[tensor].buffer].data is not None

    def _integer_dtype(self, tensor: int) -> Any:
        """Integer type of a quantized tensor.

        Raises:
            ConfigProblem: the tensor is not quantized
        """
        dtype = _DTYPES.get(self.graph.tensors[tensor].type)
        if dtype is None or self.graph.tensors[tensor].quantization.scale is None:
            name = bytes(self.graph.tensors[tensor].name).decode(errors="replace")
            raise ConfigProblem(f"{self.path}: {name} is not quantized to 8 bits", hint=_HINT)
        return dtype

    def _read_constant(self, tensor: int) -> NDArray[np.float32]:
        """Real values of a constant tensor: scale * (integer - zero point)."""
        entry = self.graph.tensors[tensor]
        parameters, dtype = entry.quantization, self._integer_dtype(tensor)
        integers = np.frombuffer(bytes(self.model.buffers[entry.buffer].data), dtype).reshape(entry.shape)
        scale, zero_point = np.asarray(parameters.scale, np.float64), np.asarray(parameters.zeroPoint, np.float64)
        shape = [1] * integers.ndim
        shape[parameters.quantizedDimension if len(scale) > 1 else 0] = len(scale)
        return np.asarray((integers - zero_point.reshape(shape)) * scale.reshape(shape), np.float32)


def _tensor_name(tensor: int) -> str:
    return f"t{tensor}"
