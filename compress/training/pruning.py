"""Structured pruning: removes the channels of a backbone that matter least for the product's images.

Between its expansion and its projection, each block of the backbone has six times as many channels as its input, and
nearly all multiplications are there. No other block sees the channels inside a block, so only these three convolutions
depend on each other (the dependency graph of Fang et al., "DepGraph: Towards Any Structural Pruning", 2023, is one
block deep). The output shape of a block stays unchanged, so detectors and teachers need no change.

The importance of a channel is the change of the block output on the product's images if the channel is replaced by its
mean: its variance times the squared norm of its column in the projection. The contribution of its mean is kept, in the
bias of the projection. As in Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019, importance is
a contribution to the output, and not the size of a weight.

With several rounds, each round removes a share of the channels. Between rounds the network is trained by distillation
(distillation.py), so that the next round measures the adapted network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..goal.recipe import PruningSettings
from ..models.efficientnet_lite import Backbone, InvertedResidual
from ..models.feature_extraction import batch_normalized_images


def kept_shares(settings: PruningSettings) -> list[float]:
    """Returns the share of the original channels that remains after each round; each round keeps the same share."""
    return [settings.kept_share ** (number / settings.rounds) for number in range(1, settings.rounds + 1)]


@torch.no_grad()
def prune(settings: PruningSettings, network: Backbone, images: Iterable[NDArray[Any]]) -> Backbone:
    """Returns a narrower network; it is not retrained, see distillation.py.

    Args:
        settings: pruning settings of the recipe
        network: backbone in evaluation mode
        images: images of the product, 1 x H x W x 3, u8
    """
    statistics = _measure_projection_inputs(network, images)
    pruned = Backbone(network.taps, settings.kept_share).eval()
    pruned.stem.load_state_dict(network.stem.state_dict())
    for index, (block, pruned_block) in enumerate(zip(network.blocks, pruned.blocks, strict=True)):
        assert isinstance(block, InvertedResidual)
        assert isinstance(pruned_block, InvertedResidual)
        if isinstance(block.expand, nn.Identity):
            pruned_block.load_state_dict(block.state_dict())
        else:
            _copy_important_channels(block, pruned_block, *statistics[index])
    return pruned


def _measure_projection_inputs(network: Backbone, images: Iterable[NDArray[Any]]) -> dict[int, tuple[Tensor, Tensor]]:
    """Returns the mean and variance of each projection's input over all positions and images, by block number."""
    sums: dict[int, list[Tensor]] = {}

    def make_hook(index: int) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            projection_input = inputs[0].double()
            moments = torch.stack([projection_input.mean(dim=(2, 3)), (projection_input**2).mean(dim=(2, 3))])
            sums.setdefault(index, []).append(moments)

        return hook

    handles = [
        block.project.register_forward_pre_hook(make_hook(index))  # type: ignore[union-attr]
        for index, block in enumerate(network.blocks)
    ]
    for batch in batch_normalized_images(images):
        network(batch)
    for handle in handles:
        handle.remove()
    statistics = {}
    for index, moments_of_batches in sums.items():
        mean, square = torch.cat(moments_of_batches, dim=1).mean(dim=1)
        statistics[index] = (mean, (square - mean**2).clamp(min=0))
    return statistics


def _copy_important_channels(
    block: InvertedResidual, pruned_block: InvertedResidual, mean: Tensor, variance: Tensor
) -> None:
    """Copies the most important channels of `block` to `pruned_block`; the means of the others go into its bias."""
    project, norm = block.project.conv, block.project.norm
    assert isinstance(project, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    columns = project.weight[..., 0, 0].double()
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # type: ignore[union-attr]
    importance = variance * ((columns * gain[:, None]) ** 2).sum(dim=0)
    width = len(pruned_block.state_dict()["project.conv.weight"][0])
    order = importance.argsort(descending=True)
    kept, removed = order[:width].sort().values, order[width:]

    state = block.state_dict()
    for name, value in state.items():
        if name.startswith(("expand.", "depthwise.")) and value.ndim:
            state[name] = value[kept]
    state["project.conv.weight"] = project.weight[:, kept]
    removed_contribution = (
        columns[:, removed] @ mean[removed]
    )  # contribution of the removed channels' means, before the normalization
    state["project.norm.running_mean"] = norm.running_mean - removed_contribution.float()  # type: ignore[operator]
    pruned_block.load_state_dict(state)
