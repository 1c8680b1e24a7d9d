"""Up or down is learnt for each weight, so that the errors of a layer's weights cancel each other.

To the nearest is best for a weight alone and not for their sum. In the manner of AdaRound (Nagel et al., "Up or Down?
Adaptive Rounding for Post-Training Quantization", 2020): each weight is its floor plus a share between 0 and 1 that is
trained so that what the layer makes of the integers that reach it comes near what the float layer makes of its own
inputs, behind the activation function; a growing penalty drives each share to one of the ends. Layer after layer, with
the ones before it rounded already.

The paper takes 10,000 steps per layer. Here there are a few hundred, at a rate that lets a share cross its range within
them, on a few images at a time, fewer where the maps are large: the time is bounded, and grows with the number of
layers. A layer whose learnt rounding is not nearer to the float one over all images than rounding to the nearest keeps
the latter.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from ..graph.torch_module import LAYERS, Network, Node, together
from .integer_simulation import LARGEST, Simulation

BATCH = 16
PLACES = 60_000  # of the maps that go through at once, at most
STRETCH = (-0.1, 1.1)  # the paper's zeta and gamma
PENALTY = 0.01
SHARPNESS = (20.0, 2.0)  # the paper's beta, at the beginning and at the end
WARM = 0.2  # share of the steps without a penalty


def learn(
    exact: Network, simulated: Simulation, images: Tensor, steps: int, seed: int, layers: Collection[str] | None = None
) -> None:
    """Changes the weights of `simulated` into multiples of their scales.

    Args:
        exact: the float network
        simulated: the same, quantised; it is changed
        images: N x 3 x H x W, normalised
        steps: per layer
        seed: of the order of the images
        layers: names of those to be changed; None: all that are quantised
    """
    order = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for node, _, values, target in together(exact, simulated, images):
            if node.kind in LAYERS and node.name in simulated.quantised and (layers is None or node.name in layers):
                _learn_layer(simulated, node, values[node.inputs[0]], target, steps, order)


def _learn_layer(
    simulated: Simulation, node: Node, inputs: Tensor, target: Tensor, steps: int, order: torch.Generator
) -> None:
    weight = simulated.parameter(node.inputs[1])
    scale = simulated.weight_scale(node).reshape([-1, *[1] * (weight.ndim - 1)])
    low, high = simulated.limits(node)
    target = target.clamp(low, high)
    unit = target.var().clamp(min=1e-12)
    floor = torch.floor(weight / scale)
    share = (weight / scale - floor).clamp(1e-4, 1 - 1e-4)
    inverse = (share - STRETCH[0]) / (STRETCH[1] - STRETCH[0])
    ends = torch.round(weight / scale)
    fixed = ends.abs() == LARGEST  # they say what a channel's scale is
    slack = torch.log(inverse / (1 - inverse)).detach().requires_grad_(True)
    rate = 6.0 / steps
    adam = torch.optim.Adam([slack], lr=rate)
    many = max(1, min(BATCH, PLACES // max(target[0, 0].numel(), 1), len(target)))

    def lost(integers: Tensor, numbers: Tensor) -> Tensor:
        made = simulated.sums(node, {node.inputs[0]: inputs[numbers]}, integers).clamp(low, high)
        return ((made - target[numbers]) ** 2).mean() / unit

    def lost_by(integers: Tensor) -> float:
        every = torch.split(torch.arange(len(target)), many)
        return float(sum(lost(integers, numbers) * len(numbers) for numbers in every) / len(target))

    for step in range(steps):
        numbers = torch.randperm(len(target), generator=order)[:many]
        with torch.enable_grad():
            soft = (torch.sigmoid(slack) * (STRETCH[1] - STRETCH[0]) + STRETCH[0]).clamp(0, 1)
            loss = lost(torch.where(fixed, ends, floor + soft), numbers)
            if step >= WARM * steps:
                done = (step / steps - WARM) / (1 - WARM)
                sharpness = SHARPNESS[0] + (SHARPNESS[1] - SHARPNESS[0]) * done
                loss = loss + PENALTY * (1 - (2 * soft - 1).abs() ** sharpness).mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        adam.step()
    learnt = torch.where(fixed, ends, floor + (slack >= 0))
    weight.copy_((learnt if lost_by(learnt) < lost_by(ends) else ends) * scale)
