"""A float ONNX graph as a torch module, so that an exported or imported graph can be trained.

All steps after the export work on ONNX graphs: the quantizer reads a graph, and an imported model exists only as a
graph. So training starts from the graph, too. Each node is computed by the equivalent torch function; for one image the
result differs from ONNX Runtime's by the order of additions (1e-5 of the largest value).

The graphs have batch size one. The module takes any batch size: it ignores the first dimension of shapes in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from vedette.runtime.errors import Problem

from .editing import copy_with_weights, read_attributes

WEIGHTED_OPERATORS = ("Conv", "Gemm")
CLIPPING_OPERATORS = ("Clip", "Relu")


class GraphNode:
    """An operator with its attributes as Python values."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.op_type = node.op_type
        self.name = node.name or node.output[0]
        self.inputs = list(node.input)
        self.output = node.output[0]
        self.attributes: dict[str, Any] = read_attributes(node)


class OnnxModule(nn.Module):
    """Maps normalized images (N x 3 x H x W) to the outputs of a graph, or to any of its tensors."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Build the module from a graph whose only input is an image.

        Raises:
            Problem: the graph holds an operator that has no torch equivalent here
        """
        super().__init__()
        self.input = model.graph.input[0].name
        self.outputs = [value.name for value in model.graph.output]
        self.nodes = [GraphNode(node) for node in model.graph.node]
        for node in self.nodes:
            if node.op_type not in _OPERATORS:
                known = ", ".join(sorted(_OPERATORS))
                hint = f"only its ranges can be measured: leave out the steps that train; trainable are {known}"
                raise Problem(f"node {node.name!r} is a {node.op_type}, which cannot be trained here", hint=hint)
        layers = [node for node in self.nodes if node.op_type in WEIGHTED_OPERATORS]
        learned = {name for layer in layers for name in layer.inputs[1:3] if name}
        self.parameter_indices: dict[str, int] = {}
        self.learned_parameters = nn.ParameterList()
        self.constants: dict[str, Tensor] = {}
        for initializer in model.graph.initializer:
            values = torch.from_numpy(numpy_helper.to_array(initializer).copy())
            if initializer.name in learned:
                self.parameter_indices[initializer.name] = len(self.parameter_indices)
                self.learned_parameters.append(nn.Parameter(values))
            else:
                self.constants[initializer.name] = values
        self._last_use = {name: index for index, node in enumerate(self.nodes) for name in node.inputs}

    def get_parameter_by_name(self, name: str) -> nn.Parameter:
        """The weights or biases of the initializer `name`."""
        parameter = self.learned_parameters[self.parameter_indices[name]]
        assert isinstance(parameter, nn.Parameter)
        return parameter

    def forward(self, image: Tensor, tensor_names: Sequence[str] | None = None) -> list[Tensor]:
        """The tensors `tensor_names`, or the outputs of the graph if None."""
        tensor_names = self.outputs if tensor_names is None else tensor_names
        values = {self.input: self.prepare_input(image)}
        for index, node in enumerate(self.nodes):
            values[node.output] = self.run_node(node, values)
            self.release_unused_tensors(values, index, tensor_names)
        return [values[name] for name in tensor_names]

    def prepare_input(self, image: Tensor) -> Tensor:
        """The image as the first node reads it; a simulation quantizes it here."""
        return image

    def run_node(self, node: GraphNode, values: dict[str, Tensor]) -> Tensor:
        """Output of `node`; a simulation quantizes it here."""
        return self.apply_operator(node, [self.get_tensor(name, node, values) for name in node.inputs])

    def apply_operator(self, node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
        """Output of the operator of `node` for the given inputs, in float."""
        return _OPERATORS[node.op_type](node, inputs)

    def get_tensor(self, name: str, node: GraphNode, values: dict[str, Tensor]) -> Tensor | None:
        """The tensor `name` as `node` reads it; None for an omitted input."""
        if not name:
            return None
        if name in values:
            return values[name]
        if name in self.parameter_indices:
            return self.get_parameter_by_name(name)
        return self.constants[name]

    def release_unused_tensors(self, values: dict[str, Tensor], index: int, tensor_names: Sequence[str] = ()) -> None:
        """Remove tensors from `values` that no node after node `index` reads, except `tensor_names`."""
        for name in (*self.nodes[index].inputs, self.nodes[index].output):
            if name in values and self._last_use.get(name, -1) <= index and name not in tensor_names:
                del values[name]

    def copy_with_learned_weights(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Copy of `model`, the graph that this module was built from, with the present weights."""
        weights = {name: self.get_parameter_by_name(name).detach().numpy() for name in self.parameter_indices}
        return copy_with_weights(model, {name: values.astype(np.float32) for name, values in weights.items()})


def run_side_by_side(
    float_module: OnnxModule, simulation: OnnxModule, image: Tensor
) -> Iterator[tuple[GraphNode, dict[str, Tensor], dict[str, Tensor], Tensor]]:
    """Run two modules of the same graph node by node.

    A change to `simulation` between two steps affects the node just yielded and all later ones.

    Yields:
        Before `simulation` runs a node: the node, the tensors of `float_module` and of `simulation` so far, and the
        output of `float_module` for this node.
    """
    float_values = {float_module.input: float_module.prepare_input(image)}
    simulated_values = {simulation.input: simulation.prepare_input(image)}
    for index, node in enumerate(float_module.nodes):
        float_values[node.output] = float_module.run_node(node, float_values)
        yield node, float_values, simulated_values, float_values[node.output]
        simulated_values[node.output] = simulation.run_node(node, simulated_values)
        float_module.release_unused_tensors(float_values, index)
        simulation.release_unused_tensors(simulated_values, index)


def _require(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def _pad_image(node: GraphNode, image: Tensor, value: float) -> Tensor:
    """The image with the node's padding, filled with `value`."""
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    return functional.pad(image, (left, right, top, bottom), value=value) if top | left | bottom | right else image


def _convolution(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    image, weight, bias = _require(inputs[0]), _require(inputs[1]), inputs[2] if len(inputs) > 2 else None
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    pads: Any = (top, left)
    if (top, left) != (bottom, right):
        image, pads = _pad_image(node, image, 0.0), 0
    stride, dilation = (tuple(node.attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    return functional.conv2d(image, weight, bias, stride, pads, dilation, node.attributes.get("group", 1))


def _gemm(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    left, right = _require(inputs[0]), _require(inputs[1])
    scales = {node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)}
    if node.attributes.get("transA", 0) or scales != {1.0}:
        raise Problem(f"node {node.name!r}: a Gemm with transA, alpha or beta cannot be trained here")
    product = left @ (right.T if node.attributes.get("transB", 0) else right)
    return product if len(inputs) < 3 or inputs[2] is None else product + inputs[2]


def _clip(_: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    low, high = [*inputs[1:], None, None][:2]
    return torch.clamp(_require(inputs[0]), low, high)


def _read_axes(node: GraphNode, inputs: Sequence[Tensor | None]) -> list[int]:
    """Axes of a reduction: an input, an attribute, or all but the batch axis."""
    axes = _require(inputs[1]).tolist() if len(inputs) > 1 else node.attributes.get("axes")
    return [int(axis) for axis in axes or range(1, _require(inputs[0]).ndim)]


def _make_reduction(reduce: Callable[..., Tensor]) -> Callable[[GraphNode, Sequence[Tensor | None]], Tensor]:
    def operator(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
        keep_axes = bool(node.attributes.get("keepdims", 1))
        return reduce(_require(inputs[0]), dim=_read_axes(node, inputs), keepdim=keep_axes)

    return operator


def _resize(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    """Nearest neighbor by integer factors, where all rounding rules select the same pixel."""
    image = _require(inputs[0])
    if (factors := inputs[2] if len(inputs) > 2 else None) is not None and factors.numel():
        vertical, horizontal = (float(factor) for factor in factors[-2:])
    else:
        sizes = zip(_require(inputs[3])[-2:], image.shape[-2:], strict=True)
        vertical, horizontal = (float(after) / before for after, before in sizes)
    if node.attributes.get("mode", b"nearest") != b"nearest" or vertical % 1 or horizontal % 1:
        raise Problem(f"node {node.name!r}: only a nearest-neighbor Resize by integer factors can be trained here")
    return image.repeat_interleave(int(vertical), dim=-2).repeat_interleave(int(horizontal), dim=-1)


def _reshape(_: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    image, shape = _require(inputs[0]), [int(size) for size in _require(inputs[1])]
    shape = [image.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return image.reshape(image.shape[0], *shape[1:])


def _gather(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    if (indices := _require(inputs[1])).ndim != 1:
        raise Problem(f"node {node.name!r}: only a Gather with a list of indices can be trained here")
    return _require(inputs[0]).index_select(node.attributes.get("axis", 0), indices.long())


def _max_pool(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    image = _pad_image(node, _require(inputs[0]), float("-inf"))
    return functional.max_pool2d(image, node.attributes["kernel_shape"], node.attributes.get("strides", (1, 1)))


def _average_pool(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    image = _require(inputs[0])
    if any(node.attributes.get("pads", ())):
        raise Problem(f"node {node.name!r}: an AveragePool with padding cannot be trained here")
    return functional.avg_pool2d(image, node.attributes["kernel_shape"], node.attributes.get("strides", (1, 1)))


_OPERATORS: dict[str, Callable[[GraphNode, Sequence[Tensor | None]], Tensor]] = {
    "Add": lambda _, inputs: _require(inputs[0]) + _require(inputs[1]),
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": lambda node, inputs: torch.cat([_require(each) for each in inputs], dim=node.attributes["axis"]),
    "Conv": _convolution,
    "Flatten": lambda _, inputs: _require(inputs[0]).flatten(1),
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, inputs: _require(inputs[0]).mean(dim=(2, 3), keepdim=True),
    "Identity": lambda _, inputs: _require(inputs[0]),
    "MaxPool": _max_pool,
    "Mul": lambda _, inputs: _require(inputs[0]) * _require(inputs[1]),
    "ReduceMax": _make_reduction(torch.amax),
    "ReduceMean": _make_reduction(torch.mean),
    "Relu": lambda _, inputs: functional.relu(_require(inputs[0])),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda _, inputs: torch.sigmoid(_require(inputs[0])),
    "Sub": lambda _, inputs: _require(inputs[0]) - _require(inputs[1]),
    "Transpose": lambda node, inputs: _require(inputs[0]).permute(*node.attributes["perm"]),
}
