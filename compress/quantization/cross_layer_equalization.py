"""Channels of one tensor get ranges alike, so that the steps of the widest are not too coarse for the others.

What leaves a layer in channel i may be multiplied by k_i, if what reads it divides by k_i: then nothing else changes
(Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.1). That holds
across a ReLU, but not across a ReLU6, whose bound at 6 does not move along. The paper replaces ReLU6 by ReLU; here the
graph stays, and a channel is scaled only if no calibration image brings it to the bound, and so that none does
afterwards. For an image beyond all of them the bound may cut more or less than it did: that is the imprecision.

The paper equalises weights that have one scale per layer. Ours have one per output channel, so a layer's own weights
gain nothing. What gains is the activation between, which has one scale, and must be weighed against the weights of the
layer that reads it, whose rows span all channels:

    depthwise   reads each channel by weights of its own: the channel is brought to HEADROOM of the tensor's range
    dense       k_i is the root of (largest weight that reads the channel) / (range of the channel), as in the paper

A tensor that several nodes read, or that is an output, is left alone.
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

from ..graph.torch_module import CLIPS, Network, Node

HEADROOM = 0.8
MOST = 8.0
BOUND = 0.98  # of a Clip's bound: who comes so near is held to touch it


@torch.no_grad()
def equalised(model: onnx.ModelProto, images: Tensor, kept: Collection[str] = ()) -> onnx.ModelProto:
    """`model` with other weights that compute the same for `images`, N x 3 x H x W; the tensors `kept` stay."""
    network = Network(model)
    pairs = _pairs(network, kept)
    tensors = network(images, [between for _, between, _, _ in pairs])
    constants = {value.name: value for value in model.graph.initializer}
    array: dict[str, NDArray[Any]] = {}

    def weights(name: str) -> NDArray[Any]:
        return array.setdefault(name, numpy_helper.to_array(constants[name]).copy())

    for (first, _, second, bound), seen in zip(pairs, tensors, strict=True):
        reach = seen.abs().amax(dim=(0, 2, 3)).numpy().astype(np.float64)
        reader = weights(second.inputs[1])
        depthwise = second.attributes.get("group", 1) > 1
        axes = (1, 2, 3) if depthwise else (0, 2, 3)
        factors = _factors(reach, np.abs(reader).max(axis=axes).astype(np.float64), bound, depthwise)
        factors = factors.astype(np.float32)
        shape = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
        array[second.inputs[1]] = reader / factors.reshape(shape)
        array[first.inputs[1]] = weights(first.inputs[1]) * factors.reshape(-1, 1, 1, 1)
        if len(first.inputs) > 2:
            array[first.inputs[2]] = weights(first.inputs[2]) * factors
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for constant in changed.graph.initializer:
        if constant.name in array:
            constant.CopyFrom(numpy_helper.from_array(array[constant.name], constant.name))
    return changed


def _factors(
    reach: NDArray[np.float64], reader: NDArray[np.float64], bound: float, depthwise: bool
) -> NDArray[np.float64]:
    """What each channel is multiplied by: 1 for those that touch the bound or are never anything."""
    free = (reach < BOUND * bound) & (reach > 1e-6) & (reader > 1e-9)
    if not free.any():
        return np.ones_like(reach)
    safe, most = np.where(free, reach, 1.0), min(float(reach.max()), bound)
    if depthwise:
        factors = np.maximum(HEADROOM * most / safe, 1.0)
    else:
        factors = np.sqrt(np.where(free, reader, 1.0) / safe)
        factors = np.minimum(factors / np.exp(np.log(factors[free]).mean()), np.maximum(HEADROOM * most / safe, 1.0))
    return np.where(free, factors.clip(1 / MOST, MOST), 1.0)


def _pairs(network: Network, kept: Collection[str]) -> list[tuple[Node, str, Node, float]]:
    """Layer, the tensor that leaves it or its Clip, the one layer that reads that, and the bound of the Clip."""
    readers: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    fixed = {*kept, *network.outputs}
    uses = {name: len(nodes) for name, nodes in readers.items()}
    pairs = []
    for first in network.nodes:
        if first.kind != "Conv":
            continue
        between, bound = first.output, float("inf")
        follows = readers.get(between, [])
        if len(follows) == 1 and between not in fixed and follows[0].kind in CLIPS:
            clip = follows[0]
            if clip.kind == "Clip":
                low, high = (network.constants.get(name) for name in [*clip.inputs[1:], "", ""][:2])
                if low is None or float(low) != 0.0:
                    continue
                bound = float("inf") if high is None else float(high)
            between = clip.output
            follows = readers.get(between, [])
        second = follows[0] if len(follows) == 1 and between not in fixed else None
        if second is None or second.kind != "Conv" or second.inputs[0] != between:
            continue
        if any(uses[name] > 1 for name in (*first.inputs[1:3], second.inputs[1])):  # weights of several layers
            continue
        group, width = second.attributes.get("group", 1), network.parameter(second.inputs[1]).shape
        if group == 1 or (width[1] == 1 and width[0] == group):
            pairs.append((first, between, second, bound))
    return pairs
