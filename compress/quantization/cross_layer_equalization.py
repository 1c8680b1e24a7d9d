"""Cross-layer equalization: scales channels so that the channels of one activation tensor have similar ranges.

A tensor has one scale, so the channel with the widest range sets a step that is too coarse for the other channels.
Output channel i of a layer can be multiplied by k_i if the next layer divides by k_i; the network output does not
change (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.1). This
holds across a ReLU. It does not hold across a ReLU6, because the bound at 6 is not scaled. The paper replaces ReLU6 by
ReLU. This module keeps the graph and scales a channel only if no calibration image reaches the bound, before or after
the scaling. An image outside the range of the calibration images may be clipped more or less than before; this is the
approximation error of the method.

The paper equalizes weights that have one scale per layer. Here the weights have per-channel scales, so a layer's own
weights gain nothing. The activation between the two layers gains, because it has one scale. The gain is balanced
against the weights of the second layer, whose rows span all input channels:

    depthwise   each channel has its own weights: the channel is scaled to HEADROOM of the tensor's range
    dense       k_i is the square root of (largest weight that reads the channel) / (range of the channel), as in the
                paper

A tensor that several nodes read, or that is a model output, is left unchanged.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from ..graph.editing import copy_with_weights, map_initializers
from ..graph.torch_module import CLIPPING_OPERATORS, OnnxModule
from ..graph.torch_operators import GraphNode

HEADROOM = 0.8
MAX_FACTOR = 8.0
CLIP_CONTACT = 0.98  # share of a Clip's bound; a channel above it counts as clipped


@torch.no_grad()
def equalize_layers(model: onnx.ModelProto, images: Tensor, fixed_tensors: Collection[str] = ()) -> onnx.ModelProto:
    """Returns `model` with equalized weights.

    The result computes the same outputs as `model` for `images`.

    Args:
        model: float model
        images: normalized calibration images, N x 3 x H x W
        fixed_tensors: names of tensors that are not scaled
    """
    network = OnnxModule(model)
    pairs = _find_layer_pairs(network, fixed_tensors)
    activations = network(images, [between for _, between, _, _ in pairs])
    constants = map_initializers(model.graph)
    changed: dict[str, NDArray[Any]] = {}

    def weights(name: str) -> NDArray[Any]:
        return changed.setdefault(name, numpy_helper.to_array(constants[name]).copy())

    for (first, _, second, bound), activation in zip(pairs, activations, strict=True):
        channel_range = activation.abs().amax(dim=(0, 2, 3)).numpy().astype(np.float64)
        reader_weights = weights(second.inputs[1])
        depthwise = second.attributes.get("group", 1) > 1
        axes = (1, 2, 3) if depthwise else (0, 2, 3)
        factors = _scaling_factors(
            channel_range, np.abs(reader_weights).max(axis=axes).astype(np.float64), bound, depthwise
        )
        factors = factors.astype(np.float32)
        shape = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
        changed[second.inputs[1]] = reader_weights / factors.reshape(shape)
        changed[first.inputs[1]] = weights(first.inputs[1]) * factors.reshape(-1, 1, 1, 1)
        if len(first.inputs) > 2:
            changed[first.inputs[2]] = weights(first.inputs[2]) * factors
    return copy_with_weights(model, changed)


def _scaling_factors(
    channel_range: NDArray[np.float64], reader_weights: NDArray[np.float64], bound: float, depthwise: bool
) -> NDArray[np.float64]:
    """Returns the factor of each channel; 1 for channels that reach the bound or are always zero."""
    free = (channel_range < CLIP_CONTACT * bound) & (channel_range > 1e-6) & (reader_weights > 1e-9)
    if not free.any():
        return np.ones_like(channel_range)
    safe_range, widest = np.where(free, channel_range, 1.0), min(float(channel_range.max()), bound)
    if depthwise:
        factors = np.maximum(HEADROOM * widest / safe_range, 1.0)
    else:
        factors = np.sqrt(np.where(free, reader_weights, 1.0) / safe_range)
        factors = np.minimum(
            factors / np.exp(np.log(factors[free]).mean()), np.maximum(HEADROOM * widest / safe_range, 1.0)
        )
    return np.where(free, factors.clip(1 / MAX_FACTOR, MAX_FACTOR), 1.0)


def _find_layer_pairs(
    network: OnnxModule, fixed_tensors: Collection[str]
) -> list[tuple[GraphNode, str, GraphNode, float]]:
    """Lists (layer, its output or the output of its Clip, the only layer that reads it, upper bound of the Clip)."""
    consumers: dict[str, list[GraphNode]] = {}
    for node in network.nodes:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node)
    fixed = {*fixed_tensors, *network.outputs}
    pairs = []
    for first in network.nodes:
        if first.op_type != "Conv":
            continue
        between, bound = first.output, float("inf")
        readers = consumers.get(between, [])
        if len(readers) == 1 and between not in fixed and readers[0].op_type in CLIPPING_OPERATORS:
            clip = readers[0]
            if clip.op_type == "Clip":
                low, high = (network.constants.get(name) for name in [*clip.inputs[1:], "", ""][:2])
                if low is None or float(low) != 0.0:
                    continue
                bound = float("inf") if high is None else float(high)
            between = clip.output
            readers = consumers.get(between, [])
        second = readers[0] if len(readers) == 1 and between not in fixed else None
        if second is None or second.op_type != "Conv" or second.inputs[0] != between:
            continue
        if any(len(consumers[name]) > 1 for name in (*first.inputs[1:3], second.inputs[1])):
            continue  # weights shared by several layers
        group, shape = second.attributes.get("group", 1), network.get_parameter_by_name(second.inputs[1]).shape
        if group == 1 or (shape[1] == 1 and shape[0] == group):
            pairs.append((first, between, second, bound))
    return pairs
