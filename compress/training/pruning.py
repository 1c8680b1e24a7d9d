"""Structured pruning: channels that matter least to these pictures are taken out, whole, so that less is computed.

Between its expansion and its projection each block of the backbone has six times the channels that enter it, and nearly
all multiplications lie there. No channel inside one block is seen by another, so those three convolutions are all that
hangs together (the dependency graph of Fang et al., "DepGraph: Towards Any Structural Pruning", 2023, is one block
deep), and what blocks hand on keeps its shape: detectors and teachers see no difference in form.

A channel's importance is how much the block's output would change on the product's own pictures if it stood still at
its mean: its variance times the squared norm of its column in the projection. What it adds by its mean is kept, in the
bias of the projection (as in Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019, importance is
a contribution to what comes out, not the size of a weight).

In more than one round a share of them goes in each, and between rounds the network learns anew (distil.py), so that
what is measured next is what it has become.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.efficientnet_lite import Backbone, Block
from ..models.feature_extraction import batches


class Prune(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the technique."""

    kept: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    """Share of the channels inside each block that stay."""
    rounds: Annotated[int, msgspec.Meta(ge=1, le=20)] = 2
    """In which they go, with distillation in between; the steps of that are divided among them."""

    def shares(self) -> list[float]:
        """What is left of the whole network's channels after each round; of the rest the same share goes every time."""
        return [self.kept ** (number / self.rounds) for number in range(1, self.rounds + 1)]

    @torch.no_grad()
    def __call__(self, network: Backbone, images: Iterable[NDArray[Any]]) -> Backbone:
        """A narrower network; what it lost it does not know yet: see distil.py.

        Args:
            network: in evaluation mode
            images: of the product, 1 x H x W x 3, u8
        """
        seen = _statistics(network, images)
        narrow = Backbone(network.taps, self.kept).eval()
        narrow.stem.load_state_dict(network.stem.state_dict())
        for number, (block, small) in enumerate(zip(network.blocks, narrow.blocks, strict=True)):
            assert isinstance(block, Block)
            assert isinstance(small, Block)
            if isinstance(block.expand, nn.Identity):
                small.load_state_dict(block.state_dict())
            else:
                _narrowed(block, small, *seen[number])
        return narrow


def _statistics(network: Backbone, images: Iterable[NDArray[Any]]) -> dict[int, tuple[Tensor, Tensor]]:
    """Mean and variance over all places and pictures of what enters each projection, by number of the block."""
    sums: dict[int, list[Tensor]] = {}

    def watch(number: int) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            inside = inputs[0].double()
            moments = torch.stack([inside.mean(dim=(2, 3)), (inside**2).mean(dim=(2, 3))])
            sums.setdefault(number, []).append(moments)

        return hook

    handles = [
        block.project.register_forward_pre_hook(watch(number))  # type: ignore[union-attr]
        for number, block in enumerate(network.blocks)
    ]
    for batch in batches(images):
        network(batch)
    for handle in handles:
        handle.remove()
    found = {}
    for number, parts in sums.items():
        mean, square = torch.cat(parts, dim=1).mean(dim=1)
        found[number] = (mean, (square - mean**2).clamp(min=0))
    return found


def _narrowed(block: Block, small: Block, mean: Tensor, variance: Tensor) -> None:
    """Gives `small` the most important channels of `block`, and the others' means."""
    project, norm = block.project.conv, block.project.norm
    assert isinstance(project, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    column = project.weight[..., 0, 0].double()
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # type: ignore[union-attr]
    importance = variance * ((column * gain[:, None]) ** 2).sum(dim=0)
    width = len(small.state_dict()["project.conv.weight"][0])
    order = importance.argsort(descending=True)
    kept, gone = order[:width].sort().values, order[width:]

    state = block.state_dict()
    for name, value in state.items():
        if name.startswith(("expand.", "depthwise.")) and value.ndim:
            state[name] = value[kept]
    state["project.conv.weight"] = project.weight[:, kept]
    still = column[:, gone] @ mean[gone]  # what stood still adds to each output, before its normalisation
    state["project.norm.running_mean"] = norm.running_mean - still.float()  # type: ignore[operator]
    small.load_state_dict(state)
