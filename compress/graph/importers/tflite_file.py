"""A quantised TFLite detector as a float ONNX graph, so that it goes the same way as every other.

Weights and biases get their real values; activations become float, and where a range stood for a ReLU or a ReLU6, as
TensorFlow's converter has it, the Clip is written out again. What this float network gives is what the integers of
the file were rounded from, less what their rounding of weights has lost: that does not come back.

Known are the operators that an SSD has before its post-processing: convolutions, shapes, joints and sigmoids.
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

from vedette.runtime.errors import ConfigProblem

_HINT = "it should be a quantised SSD of the TensorFlow Object Detection API, float weights go as model.onnx"
_CODES = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
_TYPES = {schema.TensorType.UINT8: np.uint8, schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}
_MOVES = ("RESHAPE", "CONCATENATION", "LOGISTIC", "DEQUANTIZE", "SQUEEZE")
_LIMITS = {1: (0.0, None), 3: (0.0, 6.0)}  # of the fused activation functions RELU and RELU6


def read(path: Path) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
    """The network up to the convolutions that give boxes and classes, and the anchors (n x 4: y, x, height, width).

    Raises:
        ConfigProblem: it is no such file.
    """
    try:
        data = path.read_bytes()
        if data[4:8] != b"TFL3":
            raise ConfigProblem(f"{path}: no TFLite file", hint=_HINT)
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    except (OSError, struct.error, IndexError, ValueError, TypeError) as error:
        raise ConfigProblem(f"{path}: no usable TFLite file: {error}", hint=_HINT) from None
    return _Reader(path, model).read()


class _Reader:
    def __init__(self, path: Path, model: Any) -> None:
        self.path, self.model, self.graph = path, model, model.subgraphs[0]
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def read(self) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
        anchors, behind = None, set()
        ends: list[str] = []
        for operator in self.graph.operators:
            code = self.model.operatorCodes[operator.opcodeIndex]
            kind = _CODES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")
            if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                self._convolution(operator, depthwise=kind.startswith("DEPTHWISE"))
            elif kind in _MOVES:
                behind.update(operator.outputs)
                sources = [self._name(each) for each in operator.inputs if each not in behind and not self._fixed(each)]
                ends += [name for name in sources if name not in ends]
            elif kind == "CUSTOM" and b"Detection_PostProcess" in bytes(code.customCode):
                anchors = self._values(operator.inputs[2])
            else:
                raise ConfigProblem(f"{self.path}: its operator {kind} is not known here", hint=_HINT)
        if anchors is None or len(self.graph.inputs) != 1:
            raise ConfigProblem(f"{self.path}: no post-processing of an SSD in it", hint=_HINT)
        source = self.graph.tensors[self.graph.inputs[0]]
        _, height, width, channels = (int(each) for each in source.shape)
        image = helper.make_tensor_value_info(
            self._name(self.graph.inputs[0]), onnx.TensorProto.FLOAT, [1, channels, height, width]
        )
        outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ends]
        graph = helper.make_graph(self.nodes, "ssd", [image], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), anchors

    def _convolution(self, operator: Any, depthwise: bool) -> None:
        source, weight, bias = operator.inputs
        name, options, values = self._name(operator.outputs[0]), operator.builtinOptions, self._values(weight)
        if depthwise and options.depthMultiplier != 1:
            raise ConfigProblem(f"{self.path}: {name} makes several channels of each", hint=_HINT)
        values = values.transpose(3, 0, 1, 2) if depthwise else values.transpose(0, 3, 1, 2)
        size, stride = values.shape[2:], (int(options.strideH), int(options.strideW))
        dilation = int(options.dilationHFactor), int(options.dilationWFactor)
        pads = [0, 0, 0, 0]
        if options.padding == schema.Padding.SAME:
            for axis in (0, 1):
                before, after = (
                    int(self.graph.tensors[each].shape[1 + axis]) for each in (source, operator.outputs[0])
                )
                missing = max(0, (after - 1) * stride[axis] + (size[axis] - 1) * dilation[axis] + 1 - before)
                pads[axis], pads[2 + axis] = missing // 2, missing - missing // 2
        limits = self._limits(operator.outputs[0], options.fusedActivationFunction)
        made = f"{name}/sum" if limits else name
        inputs = [self._name(source), self._constant(f"{name}/weight", values)]
        inputs.append(self._constant(f"{name}/bias", self._values(bias)))
        how: dict[str, Any] = {
            "pads": pads,
            "strides": stride,
            "dilations": dilation,
            "group": len(values) if depthwise else 1,
        }
        self.nodes.append(helper.make_node("Conv", inputs, [made], name=f"{name}/conv", **how))
        if limits:
            ends = [
                "" if each is None else self._constant(f"{name}/{place}", np.array(each, np.float32))
                for place, each in zip(("low", "high"), limits, strict=True)
            ]
            self.nodes.append(helper.make_node("Clip", [made, *ends], [name], name=f"{name}/clip"))

    def _limits(self, place: int, fused: int) -> tuple[float, float | None] | None:
        """Of the values, where the file clips them: by a function, or by a range that begins at nothing."""
        if fused in _LIMITS:
            return _LIMITS[fused]
        found = self.graph.tensors[place].quantization
        if fused or int(found.zeroPoint[0]) != np.iinfo(self._type(place)).min:
            return None
        reach = 255 * float(found.scale[0])
        return (0.0, 6.0) if abs(reach - 6) < 0.05 else (0.0, None)

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def _name(self, place: int) -> str:
        return f"t{place}"

    def _fixed(self, place: int) -> bool:
        return self.model.buffers[self.graph.tensors[place].buffer].data is not None

    def _type(self, place: int) -> Any:
        kind = _TYPES.get(self.graph.tensors[place].type)
        if kind is None or self.graph.tensors[place].quantization.scale is None:
            name = bytes(self.graph.tensors[place].name).decode(errors="replace")
            raise ConfigProblem(f"{self.path}: {name} is not quantised to 8 bits", hint=_HINT)
        return kind

    def _values(self, place: int) -> NDArray[np.float32]:
        """Real values of a constant."""
        tensor = self.graph.tensors[place]
        found, kind = tensor.quantization, self._type(place)
        integers = np.frombuffer(bytes(self.model.buffers[tensor.buffer].data), kind).reshape(tensor.shape)
        scale, zero = np.asarray(found.scale, np.float64), np.asarray(found.zeroPoint, np.float64)
        shape = [1] * integers.ndim
        shape[found.quantizedDimension if len(scale) > 1 else 0] = len(scale)
        return np.asarray((integers - zero.reshape(shape)) * scale.reshape(shape), np.float32)
