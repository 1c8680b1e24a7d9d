"""Integer simulation: fake quantization of a model in torch, equal to ONNX Runtime's integer results, with gradients.

Where the int8 graph has an integer tensor, the simulation rounds the float value to the real value of that integer.
Activations are u8 with the scale and zero point of the int8 graph. Weights are s8, symmetric, per-channel. The scale of
the weights is the one that the quantizer derives from their current values: largest magnitude / 127, or more where the
bias would overflow 32 bits. Biases are s32 in units of input scale x weight scale. Values round to nearest, ties to
even. The gradient passes through rounding unchanged (straight-through estimator; Bengio et al., "Estimating or
Propagating Gradients Through Stochastic Neurons", 2013). Clamped values get no gradient.

Layers multiply integers, as ONNX Runtime does. With real values, a rounding tie would be decided by the float32
rounding error, and after fifty layers half of all outputs would differ. Sums of products stay below 2^24, which float32
represents exactly, in all but a few layers. With `exact_sums` all sums are exact.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import onnx
import torch
from torch import Tensor

from ..graph.editing import read_initializers
from ..graph.qdq import COPYING_OPERATORS
from ..graph.torch_module import CLIPPING_OPERATORS, WEIGHTED_OPERATORS, OnnxModule
from ..graph.torch_operators import GraphNode

MAX_WEIGHT_INTEGER = 127  # largest magnitude of an integer weight
_INT32_SPAN = 2.0 * (2**31 - 1)
_BIAS_HEADROOM = 1.0001  # factor that ONNX Runtime applies where a bias would overflow 32 bits
_ROUNDED_WITH_ZERO_POINT = ("Add", "Mul")  # these operators add the zero point before rounding
_COPYING_OPERATORS = (*COPYING_OPERATORS, "Identity", "Pad", "Split")


class QuantizationParameters(NamedTuple):
    """Scale and zero point of an activation: they map its integers 0…255 to real values."""

    scale: Tensor
    zero_point: Tensor


def read_activation_parameters(int8_model: onnx.ModelProto) -> dict[str, QuantizationParameters]:
    """Returns the quantization parameters of each u8 tensor of an int8 model, by its float tensor name."""
    constants = read_initializers(int8_model.graph)
    parameters = {}
    for node in int8_model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero_point = constants[node.input[1]], constants[node.input[2]]
            if zero_point.dtype == np.uint8:
                values = (torch.from_numpy(constant.astype(np.float32)) for constant in (scale, zero_point))
                parameters[node.input[1].removesuffix("_scale")] = QuantizationParameters(*values)
    return parameters


class IntegerSimulation(OnnxModule):
    """Integer simulation of a float model.

    Internally, a quantized tensor is stored as integers minus the zero point. The input of a Clip is stored in steps of
    the Clip's output and is not rounded yet, because the quantizer removes such a Clip: its integer range does the
    clipping.
    """

    def __init__(self, model: onnx.ModelProto, int8_model: onnx.ModelProto) -> None:
        """Builds the simulation of the float `model`.

        Args:
            model: float model
            int8_model: int8 model with the quantization parameters; built from `model`, or from the same graph with
                other weights
        """
        super().__init__(model)
        self.activation_parameters = read_activation_parameters(int8_model)
        constants = {value.name for value in int8_model.graph.initializer}
        layers = [node for node in self.nodes if node.op_type in WEIGHTED_OPERATORS]
        self.quantized_layers = {node.name for node in layers if node.inputs[1] not in constants}
        """Names of the layers that compute with integers."""
        self.rounded_nodes: Collection[str] | None = None
        """Names of the nodes whose output and weights are rounded; None: all nodes."""
        self.exact_sums = False
        """Whether sums are computed in float64: every sum is exact, and the forward pass takes four times as long."""
        self._producers = {node.output: node for node in self.nodes}
        clip_inputs = {node.output: node.inputs[0] for node in self.nodes if node.op_type in CLIPPING_OPERATORS}
        int8_nodes = {node.name for node in int8_model.graph.node}
        clippable = {
            node.output for node in self.nodes if node.op_type in (*WEIGHTED_OPERATORS, *_ROUNDED_WITH_ZERO_POINT)
        }
        self._clip_outputs = {
            before: after
            for after, before in clip_inputs.items()
            if before in clippable
            and before not in self.activation_parameters
            and self._producers[after].name not in int8_nodes
        }

    def forward(self, image: Tensor, tensor_names: Sequence[str] | None = None) -> list[Tensor]:
        """Returns the real values of the tensors `tensor_names`, or of the model outputs if it is None."""
        names = self.outputs if tensor_names is None else tensor_names
        return [self.dequantize(name, value) for name, value in zip(names, super().forward(image, names), strict=True)]

    def prepare_input(self, image: Tensor) -> Tensor:
        step_size = self._step_size(self.input)
        return image if step_size is None else self._round_to_integers(self.input, image / step_size)

    def dequantize(self, name: str, value: Tensor) -> Tensor:
        """Converts `value`, in the internal representation of the tensor `name`, to real values."""
        step_size = self._step_size(name)
        return value if step_size is None else value * step_size

    def run_node(self, node: GraphNode, values: dict[str, Tensor]) -> Tensor:
        rounded = self._is_rounded(node)
        if node.op_type in WEIGHTED_OPERATORS and rounded and node.name in self.quantized_layers:
            result = self._compute_sum_steps(node, values)
        elif node.inputs[0] in self._clip_outputs and rounded and node.op_type in CLIPPING_OPERATORS:
            result = values[node.inputs[0]]
        else:
            reals = [self._read_real(name, node, values, rounded) for name in node.inputs]
            result, step_size = self.apply_operator(node, reals), self._step_size(node.output)
            if step_size is None:
                return result
            result = result / step_size
        if node.output in self._clip_outputs or not rounded:
            return result
        unclipped = self._producers[node.inputs[0]] if node.inputs[0] in self._clip_outputs else node
        return self._round_to_integers(
            node.output, result, zero_point_first=unclipped.op_type in _ROUNDED_WITH_ZERO_POINT
        )

    def _step_size(self, name: str) -> Tensor | None:
        """Returns the real value of one step of the tensor `name`; None if the tensor is stored as real values."""
        parameters = self.activation_parameters.get(self._clip_outputs.get(name, name))
        return None if parameters is None else parameters.scale

    def _is_rounded(self, node: GraphNode) -> bool:
        """Returns whether `node` is rounded; a Clip is rounded together with the node that it clips."""
        return (
            self.rounded_nodes is None
            or node.name in self.rounded_nodes
            or (node.inputs[0] in self._clip_outputs and self._producers[node.inputs[0]].name in self.rounded_nodes)
        )

    def _read_real(self, name: str, node: GraphNode, values: dict[str, Tensor], rounded: bool) -> Tensor | None:
        value = self.get_tensor(name, node, values)
        if value is None:
            return None
        if name in values:
            return self.dequantize(name, value)
        step_size = self._step_size(name)
        return (
            value if step_size is None or not rounded else self._round_to_integers(name, value / step_size) * step_size
        )

    def _round_to_integers(self, name: str, steps: Tensor, zero_point_first: bool = False) -> Tensor:
        """Rounds to integers minus the zero point; `zero_point_first`, adding it before rounding, decides ties."""
        zero_point = self.activation_parameters[name].zero_point
        if zero_point_first:
            return round_straight_through(steps + zero_point).clamp(0, 255) - zero_point
        return round_straight_through(steps).clamp(float(-zero_point), float(255 - zero_point))

    def compute_sums(self, node: GraphNode, values: dict[str, Tensor], integers: Tensor | None = None) -> Tensor:
        """Returns the output of a layer before it is rounded, in real values.

        Args:
            node: layer
            values: input tensors by name, in the internal representation
            integers: weights in units of their scales; None: the current weights, rounded to nearest
        """
        return self.dequantize(node.output, self._compute_sum_steps(node, values, integers))

    def output_limits(self, node: GraphNode) -> tuple[float, float]:
        """Returns the smallest and the largest real value that the u8 output of a layer can represent."""
        name = self._clip_outputs.get(node.output, node.output)
        if name not in self.activation_parameters:
            return float("-inf"), float("inf")
        scale, zero_point = (float(parameter) for parameter in self.activation_parameters[name])
        return -zero_point * scale, (255 - zero_point) * scale

    def _compute_sum_steps(self, node: GraphNode, values: dict[str, Tensor], integers: Tensor | None = None) -> Tensor:
        """Returns the sums of products of integers of a layer, in steps of its output."""
        input_scale, weight_scale = self.input_scale(node), self.weight_scale(node)
        image = values[node.inputs[0]]
        if self._step_size(node.inputs[0]) is None:
            image = round_straight_through(image / input_scale)
        weight = self.get_parameter_by_name(node.inputs[1])
        if integers is None:
            steps = weight / weight_scale.reshape([-1, *[1] * (weight.ndim - 1)])
            integers = round_straight_through(steps).clamp(-MAX_WEIGHT_INTEGER, MAX_WEIGHT_INTEGER)
        bias = self.get_parameter_by_name(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        inputs = [image, integers, None if bias is None else _round_bias(bias, input_scale * weight_scale)]
        if self.exact_sums:
            inputs = [tensor if tensor is None else tensor.double() for tensor in inputs]
        sums = self.apply_operator(node, inputs).to(weight.dtype)
        output_scale = self._step_size(node.output)
        factor = input_scale * weight_scale if output_scale is None else input_scale * weight_scale / output_scale
        return sums * factor.reshape([-1, *[1] * (sums.ndim - 2)])

    def input_scale(self, node: GraphNode) -> Tensor:
        """Returns the scale of the activation that `node` reads."""
        name = node.inputs[0]
        while name not in self.activation_parameters and self._producers[name].op_type in _COPYING_OPERATORS:
            name = self._producers[name].inputs[0]
        return self.activation_parameters[name].scale

    @torch.no_grad()
    def weight_scale(self, node: GraphNode) -> Tensor:
        """Returns the quantizer's weight scale of each output channel of a layer; 1 if all weights are zero."""
        weight = self.get_parameter_by_name(node.inputs[1])
        assert node.op_type == "Conv" or node.attributes.get("transB", 0)  # output channels are the first axis
        scale = weight.flatten(1).abs().amax(dim=1) / MAX_WEIGHT_INTEGER
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self.get_parameter_by_name(node.inputs[2]).double().abs()
            smallest = (_BIAS_HEADROOM * 2 * bias / _INT32_SPAN / self.input_scale(node).double()).to(scale.dtype)
            scale = torch.where(scale > 0, torch.maximum(scale, smallest), scale)
        return torch.where(scale > 0, scale, torch.ones_like(scale))


def _round_bias(bias: Tensor, scale: Tensor) -> Tensor:
    """Rounds a bias to multiples of `scale`, in float64 like the quantizer; returns the integers."""
    steps = bias / scale
    return steps + (torch.round(bias.double() / scale.double()).to(steps.dtype) - steps).detach()


def round_straight_through(value: Tensor) -> Tensor:
    """Rounds to the nearest integer; the gradient passes through unchanged."""
    return value + (torch.round(value) - value).detach()
