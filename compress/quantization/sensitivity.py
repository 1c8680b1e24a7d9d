"""Sensitivity of each layer to quantization: the error of its own output, and its effect on the model outputs.

The two questions are different. A coarsely rounded layer can have no effect on the outputs, and a precisely rounded
layer can have a large one. Three measures per layer come from the integer simulation:

    sqnr     signal to quantization noise ratio of the layer output in dB, with all layers quantized
    alone    cosine similarity of the model outputs to the float outputs, with only this layer quantized
    spared   cosine similarity with all layers but this one quantized: the gain of leaving this layer float
"""

from __future__ import annotations

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from ..graph.torch_module import WEIGHTED_OPERATORS, OnnxModule
from ..graph.torch_operators import GraphNode
from .integer_simulation import IntegerSimulation


class LayerSensitivity(msgspec.Struct, frozen=True):
    """Sensitivity of one layer."""

    layer: str
    """Name of the node in the float graph."""
    weights: str
    """Name of its weight tensor, which shows the position of the layer in the network."""
    sqnr: float
    """In dB, before the activation function."""
    cosine_alone: float
    """Cosine similarity with only this layer quantized; 1: no error."""
    cosine_spared: float
    """Cosine similarity with all layers but this one quantized."""


@torch.no_grad()
def measure_sensitivity(
    float_network: OnnxModule, simulation: IntegerSimulation, images: Tensor
) -> list[LayerSensitivity]:
    """Measures each quantized layer, in graph order; images are N x 3 x H x W, normalized."""
    layers = [
        node
        for node in float_network.nodes
        if node.op_type in WEIGHTED_OPERATORS and node.name in simulation.quantized_layers
    ]
    layer_outputs = [node.output for node in layers]
    float_tensors = float_network(images, [*float_network.outputs, *layer_outputs])
    output_count = len(float_network.outputs)
    target, float_layers = _flatten(float_tensors[:output_count]), float_tensors[output_count:]
    simulated_layers = simulation(images, layer_outputs)
    node_names = {node.name for node in float_network.nodes}
    sensitivities = []
    for node, signal, simulated in zip(layers, float_layers, simulated_layers, strict=True):
        noise = ((signal - simulated) ** 2).mean().clamp(min=1e-20)
        sensitivities.append(
            LayerSensitivity(
                layer=node.name,
                weights=node.inputs[1],
                sqnr=float(10 * torch.log10((signal**2).mean() / noise)),
                cosine_alone=_cosine_with_quantized(simulation, {node.name}, images, target),
                cosine_spared=_cosine_with_quantized(simulation, node_names - {node.name}, images, target),
            )
        )
    return sensitivities


def select_most_sensitive(
    sensitivities: list[LayerSensitivity], float_network: OnnxModule, count: int
) -> list[GraphNode]:
    """Returns the `count` layers that gain most if left float, without those at the integer input or outputs."""
    ends = {float_network.input, *float_network.outputs}
    inner_nodes = {node.name: node for node in float_network.nodes if not ends & {node.inputs[0], node.output}}
    ranked = sorted(
        (sensitivity for sensitivity in sensitivities if sensitivity.layer in inner_nodes),
        key=lambda sensitivity: sensitivity.cosine_spared,
        reverse=True,
    )
    return [inner_nodes[sensitivity.layer] for sensitivity in ranked[:count]]


def _cosine_with_quantized(
    simulation: IntegerSimulation, quantized_nodes: set[str], images: Tensor, target: Tensor
) -> float:
    simulation.rounded_nodes = quantized_nodes
    try:
        return _cosine(simulation(images), target)
    finally:
        simulation.rounded_nodes = None


def _flatten(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def _cosine(tensors: list[Tensor], target: Tensor) -> float:
    return float(functional.cosine_similarity(_flatten(tensors), target).mean())
