"""What integers lose on average is given back by the biases.

Rounded weights and clamped activations shift the mean of what a layer makes, and through many layers the shifts add up.
The mean over images and places, per output channel, of the float layer less the quantised one is therefore added to the
bias (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2, the
empirical variant). Layer after layer, each with the ones before it corrected already.

Both networks go through all images at once and side by side, so it costs one pass of each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..graph.torch_module import LAYERS, Network, together
from .integer_simulation import Simulation


@torch.no_grad()
def correct(exact: Network, simulated: Simulation, images: Tensor) -> None:
    """Changes the biases of `simulated`, the quantised twin of `exact`, over images of N x 3 x H x W."""
    for node, _, values, target in together(exact, simulated, images):
        if node.kind in LAYERS and node.name in simulated.quantised and len(node.inputs) > 2:
            made = simulated.sums(node, values)
            lost = (target - made).transpose(0, 1).flatten(1).mean(dim=1)
            simulated.parameter(node.inputs[2]).add_(lost)
