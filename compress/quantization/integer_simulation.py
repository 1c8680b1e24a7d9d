"""A quantised model computed in torch, as ONNX Runtime computes it, and yet with gradients.

Where the int8 graph has a tensor of integers, the float value is rounded to what those integers stand for: activations
u8, with the scale and zero point of the int8 graph; weights s8, symmetric per output channel, by the scale that the
quantiser would give them as they are now (largest magnitude / 127, more where the bias would leave 32 bits); biases s32
in units of input scale x weight scale. Rounding is to the nearest, ties to even, and lets gradients through as if it
were not there (Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013); what is clamped
gets none.

Layers multiply integers, as ONNX Runtime does: a real value on the border of two integers would fall to one side or the
other as float32 happens to round, and fifty layers on half of all outputs would differ. Sums of products stay below
2^24, which float32 holds exactly, for all but a few layers; with `exact` none is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from ..graph.torch_module import CLIPS, LAYERS, Network, Node

LARGEST = 127  # magnitude of a weight's integer
_SPAN = 2.0 * (2**31 - 1)
_ROOM = 1.0001  # that ONNX Runtime leaves where a bias would not fit
_INSIDE = ("Add", "Mul")  # round together with the zero point
_COPIES = ("Resize", "ReduceMax", "MaxPool", "Reshape", "Flatten", "Transpose", "Identity")


class Grid(NamedTuple):
    """The real values that an activation's integers 0…255 stand for."""

    scale: Tensor
    zero_point: Tensor


def grids(int8: onnx.ModelProto) -> dict[str, Grid]:
    """Of each u8 tensor of a quantised model, by the name that it had in the float model."""
    constants = {value.name: value for value in int8.graph.initializer}
    found = {}
    for node in int8.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = constants[node.input[1]], constants[node.input[2]]
            if zero.data_type == TensorProto.UINT8:
                values = (torch.from_numpy(numpy_helper.to_array(each).astype(np.float32)) for each in (scale, zero))
                found[scale.name.removesuffix("_scale")] = Grid(*values)
    return found


class Simulation(Network):
    """The float model as it will be when quantised.

    On the way, a tensor that has a grid is held as integers, less the zero point; what a node gives to a Clip is held
    in steps of that Clip's grid, not yet rounded, for the quantiser takes such a Clip out: integers end where it did.
    """

    def __init__(self, model: onnx.ModelProto, int8: onnx.ModelProto) -> None:
        """Reads the float `model`, and how it is quantised from `int8`, which was made of it or of its like."""
        super().__init__(model)
        self.grids = grids(int8)
        constants = {value.name for value in int8.graph.initializer}
        layers = [node for node in self.nodes if node.kind in LAYERS]
        self.quantised = {node.name for node in layers if node.inputs[1] not in constants}
        """The layers that are integer ones."""
        self.only: Collection[str] | None = None
        """The nodes whose output and weights are rounded; None: all."""
        self.exact = False
        """Sums in float64: no integer is lost, and it takes four times as long."""
        self._made_by = {node.output: node for node in self.nodes}
        clipped = {node.output: node.inputs[0] for node in self.nodes if node.kind in CLIPS}
        kept = {node.name for node in int8.graph.node}
        made = {node.output for node in self.nodes if node.kind in (*LAYERS, *_INSIDE)}
        self._raw = {
            before: after
            for after, before in clipped.items()
            if before in made and before not in self.grids and self._made_by[after].name not in kept
        }

    def forward(self, image: Tensor, wanted: Sequence[str] | None = None) -> list[Tensor]:
        """The real values of the tensors `wanted`, or of the outputs."""
        names = self.outputs if wanted is None else wanted
        return [self.real(name, value) for name, value in zip(names, super().forward(image, names), strict=True)]

    def entered(self, image: Tensor) -> Tensor:
        unit = self._unit(self.input)
        return image if unit is None else self._integers(self.input, image / unit)

    def real(self, name: str, value: Tensor) -> Tensor:
        """What `value`, as it is held on the way, stands for."""
        unit = self._unit(name)
        return value if unit is None else value * unit

    def done(self, node: Node, values: dict[str, Tensor]) -> Tensor:
        counts = self._counts(node)
        if node.kind in LAYERS and counts and node.name in self.quantised:
            result = self._sums(node, values)
        elif node.inputs[0] in self._raw and counts and node.kind in CLIPS:
            result = values[node.inputs[0]]
        else:
            reals = [self._read(name, node, values, counts) for name in node.inputs]
            result, unit = self.computed(node, reals), self._unit(node.output)
            if unit is None:
                return result
            result = result / unit
        if node.output in self._raw or not counts:
            return result
        before = self._made_by[node.inputs[0]] if node.inputs[0] in self._raw else node
        return self._integers(node.output, result, inside=before.kind in _INSIDE)

    def _unit(self, name: str) -> Tensor | None:
        """What one step of the tensor `name` is worth; None where it is held as it is."""
        grid = self.grids.get(self._raw.get(name, name))
        return None if grid is None else grid.scale

    def _counts(self, node: Node) -> bool:
        """Whether `node` is quantised; a Clip is part of what it clips."""
        return (
            self.only is None
            or node.name in self.only
            or (node.inputs[0] in self._raw and self._made_by[node.inputs[0]].name in self.only)
        )

    def _read(self, name: str, node: Node, values: dict[str, Tensor], counts: bool) -> Tensor | None:
        found = self.value(name, node, values)
        if found is None:
            return None
        if name in values:
            return self.real(name, found)
        unit = self._unit(name)
        return found if unit is None or not counts else self._integers(name, found / unit) * unit

    def _integers(self, name: str, steps: Tensor, inside: bool = False) -> Tensor:
        """The nearest integers of a grid, less its zero point; added `inside` the rounding, that decides ties."""
        zero = self.grids[name].zero_point
        if inside:
            return straight(steps + zero).clamp(0, 255) - zero
        return straight(steps).clamp(float(-zero), float(255 - zero))

    def sums(self, node: Node, values: dict[str, Tensor], integers: Tensor | None = None) -> Tensor:
        """What a layer makes before it is rounded, from what its inputs are held as; real values.

        Args:
            node: the layer
            values: its inputs
            integers: its weights, in units of their scales; None: the nearest
        """
        return self.real(node.output, self._sums(node, values, integers))

    def limits(self, node: Node) -> tuple[float, float]:
        """The smallest and the largest real value that the integers behind a layer can be."""
        name = self._raw.get(node.output, node.output)
        if name not in self.grids:
            return float("-inf"), float("inf")
        scale, zero = (float(each) for each in self.grids[name])
        return -zero * scale, (255 - zero) * scale

    def _sums(self, node: Node, values: dict[str, Tensor], integers: Tensor | None = None) -> Tensor:
        """A layer's sums of products of integers, in steps of its output."""
        before, scale = self.input_scale(node), self.weight_scale(node)
        image = values[node.inputs[0]]
        if self._unit(node.inputs[0]) is None:
            image = straight(image / before)
        weight = self.parameter(node.inputs[1])
        if integers is None:
            steps = weight / scale.reshape([-1, *[1] * (weight.ndim - 1)])
            integers = straight(steps).clamp(-LARGEST, LARGEST)
        bias = self.parameter(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        inputs = [image, integers, None if bias is None else _bias_integers(bias, before * scale)]
        if self.exact:
            inputs = [each if each is None else each.double() for each in inputs]
        sums = self.computed(node, inputs).to(weight.dtype)
        unit = self._unit(node.output)
        step = before * scale if unit is None else before * scale / unit
        return sums * step.reshape([-1, *[1] * (sums.ndim - 2)])

    def input_scale(self, node: Node) -> Tensor:
        """Of the activation that `node` reads."""
        name = node.inputs[0]
        while name not in self.grids and self._made_by[name].kind in _COPIES:
            name = self._made_by[name].inputs[0]
        return self.grids[name].scale

    @torch.no_grad()
    def weight_scale(self, node: Node) -> Tensor:
        """Of each output channel of a layer, as the quantiser would choose it; 1 where a channel has no weights."""
        weight = self.parameter(node.inputs[1])
        assert node.kind == "Conv" or node.attributes.get("transB", 0)  # output channels first
        scale = weight.flatten(1).abs().amax(dim=1) / LARGEST
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self.parameter(node.inputs[2]).double().abs()
            least = (_ROOM * 2 * bias / _SPAN / self.input_scale(node).double()).to(scale.dtype)
            scale = torch.where(scale > 0, torch.maximum(scale, least), scale)
        return torch.where(scale > 0, scale, torch.ones_like(scale))


def _bias_integers(bias: Tensor, scale: Tensor) -> Tensor:
    """Rounded in float64, as the quantiser does it."""
    steps = bias / scale
    return steps + (torch.round(bias.double() / scale.double()).to(steps.dtype) - steps).detach()


def straight(value: Tensor) -> Tensor:
    """Rounded, with the gradient of what was rounded."""
    return value + (torch.round(value) - value).detach()
