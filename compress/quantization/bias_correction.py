"""Bias correction: adds the mean quantization error of each output channel to the bias of the layer.

Rounded weights and clamped activations shift the mean of a layer's output, and the shifts accumulate over the layers.
This module measures, per output channel, the mean over images and positions of the float output minus the quantized
output, and adds it to the bias (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
2019, section 4.2, the empirical variant). The layers are processed in order, so the layers before the current one are
already corrected.

Both networks process all images at once and side by side, so the cost is one forward pass of each network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..graph.torch_module import WEIGHTED_OPERATORS, OnnxModule, run_side_by_side
from .integer_simulation import IntegerSimulation


@torch.no_grad()
def correct_biases(float_network: OnnxModule, simulation: IntegerSimulation, images: Tensor) -> None:
    """Corrects the biases of `simulation` in place, against `float_network`; images are N x 3 x H x W."""
    for node, _, values, target in run_side_by_side(float_network, simulation, images):
        if node.op_type in WEIGHTED_OPERATORS and node.name in simulation.quantized_layers and len(node.inputs) > 2:
            output = simulation.compute_sums(node, values)
            mean_error = (target - output).transpose(0, 1).flatten(1).mean(dim=1)
            simulation.get_parameter_by_name(node.inputs[2]).add_(mean_error)
