"""What a model costs before it is fitted: its multiplications and its bytes, counted on tensors without data."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import torch
from torch import nn


class Cost(msgspec.Struct, frozen=True):
    """Of one image."""

    macs: int
    """Multiply-accumulates of the convolutions, which are nearly all of the work; element-wise operators are not
    counted."""
    bytes: int
    """Of the int8 file, about: weights of one byte, biases of four, and per output channel a scale and a zero point.
    Names and the graph come to it."""


def of(detector: Any, size: int) -> Cost:
    """Backbone and detector together, for one image of size x size."""
    macs, held = 0, 0

    def count(layer: nn.Module, _: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        nonlocal macs, held
        assert isinstance(layer, nn.Conv2d)
        macs += result.numel() * layer.weight[0].numel()
        held += layer.weight.numel() + 9 * layer.out_channels

    twin = copy.deepcopy(detector).to("meta")
    for module in twin.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        features = twin.backbone(torch.zeros(1, 3, size, size, device="meta"))
        twin(features)
    places = sum(each.numel() for each in features)  # what a detector knows of each place, if it does
    return Cost(macs, held + (2 * places if getattr(detector, "by_place", False) else 0))
