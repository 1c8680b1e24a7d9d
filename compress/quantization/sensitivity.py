"""Which layers suffer from integers, and which of them the outputs suffer from.

Two different questions. A layer may be rounded coarsely and nobody notice; another may be rounded well and decide
everything. So each is asked three ways, on the simulation of the quantised model:

    sqnr     how far its own output is from the float one, all being quantised: signal to quantisation noise, decibels
    alone    cosine of the model's outputs to the float ones, when it alone is quantised
    spared   the same, when all is quantised but it: what leaving it float would give
"""

from __future__ import annotations

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from ..graph.torch_module import LAYERS, Network, Node
from .integer_simulation import Simulation


class Sensitivity(msgspec.Struct, frozen=True):
    """Of one layer."""

    layer: str
    """The node's name in the float graph."""
    weights: str
    """The name of its weights, which tells a reader where it is."""
    sqnr: float
    """Decibels, before the activation function."""
    alone: float
    """Cosine, 1 where nothing is lost."""
    spared: float
    """Cosine."""
    all: float
    """Cosine, when every layer is quantised: what `spared` is held against."""


@torch.no_grad()
def sensitivities(exact: Network, simulated: Simulation, images: Tensor) -> list[Sensitivity]:
    """Of each quantised layer, in the order of the graph; images N x 3 x H x W, normalised."""
    layers = [node for node in exact.nodes if node.kind in LAYERS and node.name in simulated.quantised]
    names = [node.output for node in layers]
    truth = exact(images, [*exact.outputs, *names])
    goal, before = _flat(truth[: len(exact.outputs)]), truth[len(exact.outputs) :]
    made = simulated(images, [*exact.outputs, *names])
    together, after = _alike(made[: len(exact.outputs)], goal), made[len(exact.outputs) :]
    every = {node.name for node in exact.nodes}
    found = []
    for node, real, rounded in zip(layers, before, after, strict=True):
        noise = ((real - rounded) ** 2).mean().clamp(min=1e-20)
        found.append(
            Sensitivity(
                layer=node.name,
                weights=node.inputs[1],
                sqnr=float(10 * torch.log10((real**2).mean() / noise)),
                alone=_only(simulated, {node.name}, images, goal),
                spared=_only(simulated, every - {node.name}, images, goal),
                all=together,
            )
        )
    return found


def worst(found: list[Sensitivity], exact: Network, count: int) -> list[Node]:
    """The layers that give most when they are left float, none of them at the ends of the graph, which are integers."""
    ends = {exact.input, *exact.outputs}
    free = {node.name: node for node in exact.nodes if not ends & {node.inputs[0], node.output}}
    ranked = sorted((each for each in found if each.layer in free), key=lambda each: each.spared, reverse=True)
    return [free[each.layer] for each in ranked[:count]]


def _only(simulated: Simulation, names: set[str], images: Tensor, goal: Tensor) -> float:
    simulated.only = names
    try:
        return _alike(simulated(images), goal)
    finally:
        simulated.only = None


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def _alike(tensors: list[Tensor], goal: Tensor) -> float:
    return float(functional.cosine_similarity(_flat(tensors), goal).mean())
