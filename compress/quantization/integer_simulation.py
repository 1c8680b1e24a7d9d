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
from onnx import TensorProto, numpy_helper
from torch import Tensor

from ..graph.torch_module import CLIPPING_OPERATORS, WEIGHTED_OPERATORS, GraphNode, OnnxModule

MAX_WEIGHT_INTEGER = 127  # largest magnitude of an integer weight
_INT32_SPAN = 2.0 * (2**31 - 1)
_BIAS_HEADROOM = 1.0001  # factor that ONNX Runtime applies where a bias would overflow 32 bits
_ROUNDED_WITH_ZERO_POINT = ("Add", "Mul")  # these operators add the zero point before rounding
_COPYING_OPERATORS = ("Resize", "ReduceMax", "MaxPool", "Reshape", "Flatten", "Transpose", "Identity")


class QuantizationParameters(NamedTuple):
    """Scale and zero point of an activation: they map its integers 0…255 to real values."""

    scale: Tensor
    zero_point: Tensor


def read_activation_parameters(int8: onnx.ModelProto) -> dict[str, QuantizationParameters]:
    """Returns the quantization parameters of each u8 tensor of an int8 model, by its float tensor name."""
    constants = {value.name: value for value in int8.graph.initializer}
    found = {}
    for node in int8.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = constants[node.input[1]], constants[node.input[2]]
            if zero.data_type == TensorProto.UINT8:
                values = (torch.from_numpy(numpy_helper.to_array(each).astype(np.float32)) for each in (scale, zero))
                found[scale.name.removesuffix("_scale")] = QuantizationParameters(*values)
    return found


class IntegerSimulation(OnnxModule):
    """Integer simulation of a float model.

    Internally, a quantized tensor is stored as integers minus the zero point. The input of a Clip is stored in steps of
    the Clip's output and is not rounded yet, because the quantizer removes such a Clip: its integer range does the
    clipping.
    """

    def __init__(self, model: onnx.ModelProto, int8: onnx.ModelProto) -> None:
        """Builds the simulation of the float `model`.

        Args:
            model: float model
            int8: int8 model with the quantization parameters; built from `model` or from a model with the same graph
        """
        super().__init__(model)
        self.activation_parameters = read_activation_parameters(int8)
        constants = {value.name for value in int8.graph.initializer}
        layers = [node for node in self.nodes if node.op_type in WEIGHTED_OPERATORS]
        self.quantized_layers = {node.name for node in layers if node.inputs[1] not in constants}
        """Names of the layers that compute with integers."""
        self.rounded_nodes: Collection[str] | None = None
        """Names of the nodes whose output and weights are rounded; None: all nodes."""
        self.exact_sums = False
        """Whether sums are computed in float64: every sum is exact, and the forward pass takes four times as long."""
        self._producers = {node.output: node for node in self.nodes}
        clipped = {node.output: node.inputs[0] for node in self.nodes if node.op_type in CLIPPING_OPERATORS}
        kept = {node.name for node in int8.graph.node}
        made = {node.output for node in self.nodes if node.op_type in (*WEIGHTED_OPERATORS, *_ROUNDED_WITH_ZERO_POINT)}
        self._clip_outputs = {
            before: after
            for after, before in clipped.items()
            if before in made and before not in self.activation_parameters and self._producers[after].name not in kept
        }

    def forward(self, image: Tensor, wanted: Sequence[str] | None = None) -> list[Tensor]:
        """Returns the real values of the tensors `wanted`, or of the model outputs if it is None."""
        names = self.outputs if wanted is None else wanted
        return [self.dequantize(name, value) for name, value in zip(names, super().forward(image, names), strict=True)]

    def prepare_input(self, image: Tensor) -> Tensor:
        unit = self._step_size(self.input)
        return image if unit is None else self._round_to_integers(self.input, image / unit)

    def dequantize(self, name: str, value: Tensor) -> Tensor:
        """Converts `value`, in the internal representation of the tensor `name`, to real values."""
        unit = self._step_size(name)
        return value if unit is None else value * unit

    def run_node(self, node: GraphNode, values: dict[str, Tensor]) -> Tensor:
        counts = self._is_rounded(node)
        if node.op_type in WEIGHTED_OPERATORS and counts and node.name in self.quantized_layers:
            result = self._compute_sum_steps(node, values)
        elif node.inputs[0] in self._clip_outputs and counts and node.op_type in CLIPPING_OPERATORS:
            result = values[node.inputs[0]]
        else:
            reals = [self._read_real(name, node, values, counts) for name in node.inputs]
            result, unit = self.apply_operator(node, reals), self._step_size(node.output)
            if unit is None:
                return result
            result = result / unit
        if node.output in self._clip_outputs or not counts:
            return result
        before = self._producers[node.inputs[0]] if node.inputs[0] in self._clip_outputs else node
        return self._round_to_integers(node.output, result, zero_point_first=before.op_type in _ROUNDED_WITH_ZERO_POINT)

    def _step_size(self, name: str) -> Tensor | None:
        """Returns the real value of one step of the tensor `name`; None if the tensor is stored as real values."""
        grid = self.activation_parameters.get(self._clip_outputs.get(name, name))
        return None if grid is None else grid.scale

    def _is_rounded(self, node: GraphNode) -> bool:
        """Returns whether `node` is rounded; a Clip is rounded together with the node that it clips."""
        return (
            self.rounded_nodes is None
            or node.name in self.rounded_nodes
            or (node.inputs[0] in self._clip_outputs and self._producers[node.inputs[0]].name in self.rounded_nodes)
        )

    def _read_real(self, name: str, node: GraphNode, values: dict[str, Tensor], counts: bool) -> Tensor | None:
        found = self.get_tensor(name, node, values)
        if found is None:
            return None
        if name in values:
            return self.dequantize(name, found)
        unit = self._step_size(name)
        return found if unit is None or not counts else self._round_to_integers(name, found / unit) * unit

    def _round_to_integers(self, name: str, steps: Tensor, zero_point_first: bool = False) -> Tensor:
        """Rounds to integers minus the zero point; `zero_point_first`, adding it before rounding, decides ties."""
        zero = self.activation_parameters[name].zero_point
        if zero_point_first:
            return round_straight_through(steps + zero).clamp(0, 255) - zero
        return round_straight_through(steps).clamp(float(-zero), float(255 - zero))

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
        scale, zero = (float(each) for each in self.activation_parameters[name])
        return -zero * scale, (255 - zero) * scale

    def _compute_sum_steps(self, node: GraphNode, values: dict[str, Tensor], integers: Tensor | None = None) -> Tensor:
        """Returns the sums of products of integers of a layer, in steps of its output."""
        before, scale = self.input_scale(node), self.weight_scale(node)
        image = values[node.inputs[0]]
        if self._step_size(node.inputs[0]) is None:
            image = round_straight_through(image / before)
        weight = self.get_parameter_by_name(node.inputs[1])
        if integers is None:
            steps = weight / scale.reshape([-1, *[1] * (weight.ndim - 1)])
            integers = round_straight_through(steps).clamp(-MAX_WEIGHT_INTEGER, MAX_WEIGHT_INTEGER)
        bias = self.get_parameter_by_name(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        inputs = [image, integers, None if bias is None else _round_bias(bias, before * scale)]
        if self.exact_sums:
            inputs = [each if each is None else each.double() for each in inputs]
        sums = self.apply_operator(node, inputs).to(weight.dtype)
        unit = self._step_size(node.output)
        step = before * scale if unit is None else before * scale / unit
        return sums * step.reshape([-1, *[1] * (sums.ndim - 2)])

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
            least = (_BIAS_HEADROOM * 2 * bias / _INT32_SPAN / self.input_scale(node).double()).to(scale.dtype)
            scale = torch.where(scale > 0, torch.maximum(scale, least), scale)
        return torch.where(scale > 0, scale, torch.ones_like(scale))


def _round_bias(bias: Tensor, scale: Tensor) -> Tensor:
    """Rounds a bias to multiples of `scale`, in float64 like the quantizer; returns the integers."""
    steps = bias / scale
    return steps + (torch.round(bias.double() / scale.double()).to(steps.dtype) - steps).detach()


def round_straight_through(value: Tensor) -> Tensor:
    """Rounds to the nearest integer; the gradient passes through unchanged."""
    return value + (torch.round(value) - value).detach()
