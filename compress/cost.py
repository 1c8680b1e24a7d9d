"""What a model costs before it is fitted: its multiplications, counted on tensors without data."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def macs(detector: Any, size: int) -> int:
    """Multiply-accumulates of the convolutions of backbone and detector, for one image of size x size.

    They are nearly all of the work; element-wise operators are not counted.
    """
    total = 0

    def count(layer: nn.Module, _: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        total += result.numel() * layer.weight[0].numel()

    twin = copy.deepcopy(detector).to("meta")
    for module in twin.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        twin(twin.backbone(torch.zeros(1, 3, size, size, device="meta")))
    return total
