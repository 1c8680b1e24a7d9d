"""AdaRound: learns for each weight of a layer whether it rounds up or down.

Rounding to nearest minimizes the error of each weight, but not the error of a layer's sum of products. This module
follows AdaRound (Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020). Each weight is
its floor plus a share between 0 and 1. Training moves the shares so that the integer layer, applied to the integer
inputs that reach it, approximates the float layer applied to its float inputs. The comparison is made after the
activation function. A growing penalty pushes each share to 0 or 1. The layers are processed in order, so the layers
before the current one are already rounded.

The paper takes 10,000 steps per layer. This implementation takes a few hundred. The learning rate lets a share cross
its whole range within these steps. Each step uses a small batch of images, and a smaller one where the feature maps are
large. The run time is therefore bounded and grows with the number of layers. If the learned rounding of a layer has no
lower error over all images than rounding to nearest, the layer keeps rounding to nearest.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from ..graph.torch_module import WEIGHTED_OPERATORS, OnnxModule, run_side_by_side
from ..graph.torch_operators import GraphNode
from .integer_simulation import MAX_WEIGHT_INTEGER, IntegerSimulation

BATCH_SIZE = 16
MAX_MAP_POSITIONS = 60_000  # maximum positions (images x rows x columns) of a feature map per batch
STRETCH = (-0.1, 1.1)  # gamma and zeta of the paper
PENALTY_WEIGHT = 0.01
BETA = (20.0, 2.0)  # beta of the paper, at the first and at the last step
WARM_UP = 0.2  # share of the steps that run without the penalty


def learn_rounding(
    float_network: OnnxModule,
    simulation: IntegerSimulation,
    images: Tensor,
    steps: int,
    seed: int,
    layer_names: Collection[str] | None = None,
) -> None:
    """Rounds the weights of `simulation` to multiples of their scales, with AdaRound.

    Args:
        float_network: float network
        simulation: integer simulation of the same network; its weights are changed in place
        images: normalized images, N x 3 x H x W
        steps: training steps per layer
        seed: seed of the image order
        layer_names: names of the layers to change; None: all quantized layers
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for node, _, values, target in run_side_by_side(float_network, simulation, images):
            if (
                node.op_type in WEIGHTED_OPERATORS
                and node.name in simulation.quantized_layers
                and (layer_names is None or node.name in layer_names)
            ):
                _learn_layer(simulation, node, values[node.inputs[0]], target, steps, generator)


def _learn_layer(
    simulation: IntegerSimulation,
    node: GraphNode,
    inputs: Tensor,
    target: Tensor,
    steps: int,
    generator: torch.Generator,
) -> None:
    weight = simulation.get_parameter_by_name(node.inputs[1])
    scale = simulation.weight_scale(node).reshape([-1, *[1] * (weight.ndim - 1)])
    low, high = simulation.output_limits(node)
    target = target.clamp(low, high)
    variance = target.var().clamp(min=1e-12)
    floor = torch.floor(weight / scale)
    fraction = (weight / scale - floor).clamp(1e-4, 1 - 1e-4)
    unstretched = (fraction - STRETCH[0]) / (STRETCH[1] - STRETCH[0])
    nearest = torch.round(weight / scale)
    fixed = nearest.abs() == MAX_WEIGHT_INTEGER  # these weights determine the scale of their output channel
    logits = torch.log(unstretched / (1 - unstretched)).detach().requires_grad_(True)
    learning_rate = 6.0 / steps
    optimizer = torch.optim.Adam([logits], lr=learning_rate)
    batch_size = max(1, min(BATCH_SIZE, MAX_MAP_POSITIONS // max(target[0, 0].numel(), 1), len(target)))

    def reconstruction_error(integers: Tensor, indices: Tensor) -> Tensor:
        output = simulation.compute_sums(node, {node.inputs[0]: inputs[indices]}, integers).clamp(low, high)
        return ((output - target[indices]) ** 2).mean() / variance

    def total_error(integers: Tensor) -> float:
        batches = torch.split(torch.arange(len(target)), batch_size)
        return float(sum(reconstruction_error(integers, indices) * len(indices) for indices in batches) / len(target))

    for step in range(steps):
        indices = torch.randperm(len(target), generator=generator)[:batch_size]
        with torch.enable_grad():
            soft = (torch.sigmoid(logits) * (STRETCH[1] - STRETCH[0]) + STRETCH[0]).clamp(0, 1)
            loss = reconstruction_error(torch.where(fixed, nearest, floor + soft), indices)
            if step >= WARM_UP * steps:
                annealed = (step / steps - WARM_UP) / (1 - WARM_UP)
                beta = BETA[0] + (BETA[1] - BETA[0]) * annealed
                loss = loss + PENALTY_WEIGHT * (1 - (2 * soft - 1).abs() ** beta).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation
        optimizer.step()
    learned = torch.where(fixed, nearest, floor + (logits >= 0))
    weight.copy_((learned if total_error(learned) < total_error(nearest) else nearest) * scale)
