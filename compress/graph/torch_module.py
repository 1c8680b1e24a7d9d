"""A float ONNX graph as a torch module, so that an exported or imported graph can be trained.

All steps after the export work on ONNX graphs: the quantizer reads a graph, and an imported model exists only as a
graph. So training starts from the graph, too. Each node is computed by the equivalent torch function; for one image the
result differs from ONNX Runtime's by the order of additions (1e-5 of the largest value).

The graphs have batch size one. The module takes any batch size: it ignores the first dimension of shapes in the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from vedette.runtime.errors import Problem

from .editing import copy_with_weights
from .torch_operators import OPERATORS, GraphNode

WEIGHTED_OPERATORS = ("Conv", "Gemm")
CLIPPING_OPERATORS = ("Clip", "Relu")


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
        self.nodes = [GraphNode(node, part) for node in model.graph.node for part in range(len(node.output))]
        for node in self.nodes:
            if node.op_type not in OPERATORS:
                known = ", ".join(sorted(OPERATORS))
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
        return OPERATORS[node.op_type](node, inputs)

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
