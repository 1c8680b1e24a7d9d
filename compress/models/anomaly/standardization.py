"""Smoothing and standardization of one feature level, with statistics of good images.

Both classes compute a 3 x 3 mean, which tolerates small shifts of a part. They downsample fine levels to the cells of
the anomaly map. Their output has mean 0 and a variance of about 1 over good images:

    ChannelStandardizationLayer   by mean and standard deviation of the channel over all locations
    LocationStandardizationLayer  by mean and standard deviation of the channel at each location
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

CELL_PIXELS = 8  # pixels of the input per cell of the anomaly map
MIN_STD = 1e-3  # lower bound of a standard deviation, for constant channels
_BATCH = 32  # images; the statistics are summed by batch, so that no level is held in double precision
PRIOR_WEIGHT = 40.0  # images; weight of the channel's variance, relative to that of a location


class SmoothingPool(nn.Conv2d):
    """A depthwise 3 x 3 mean with TensorFlow's SAME padding, as in the backbone: N x C x H x W -> N x C x h x w."""

    def __init__(self, channels: int, stride: int, bias: bool) -> None:
        super().__init__(channels, channels, 3, stride, groups=channels, bias=bias)
        before = 1 if stride == 1 else 0
        self.pad = nn.ZeroPad2d((before, 1, before, 1))
        self.requires_grad_(False)
        self.reset()

    def reset(self) -> None:
        """Resets the weights to those of a plain mean."""
        nn.init.constant_(self.weight, 1 / 9)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        pooled: Tensor = super().forward(self.pad(features))
        return pooled


class StandardizationLayer(nn.Module):
    """Base class of both standardizations."""

    pool: SmoothingPool

    def fit(self, good: Tensor) -> None:
        """Computes the statistics from features of good images, N x C x H x W."""
        raise NotImplementedError


class ChannelStandardizationLayer(StandardizationLayer):
    """One depthwise convolution with mean and standard deviation folded into weights and biases."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = SmoothingPool(channels, stride, bias=True)

    def fit(self, good: Tensor) -> None:
        self.pool.reset()
        mean, variance = mean_and_variance((self.pool(batch) for batch in torch.split(good, _BATCH)), dim=(0, 2, 3))
        std = variance.sqrt().clamp(min=MIN_STD)
        self.pool.weight /= std.float()[:, None, None, None]
        assert self.pool.bias is not None
        self.pool.bias.copy_((-mean / std).float())

    def forward(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.pool(features)
        return pooled


class LocationStandardizationLayer(StandardizationLayer):
    """Subtracts the mean of the location before pooling, so that the int8 range covers only the variation.

    After pooling, it divides by the standard deviation of the location. Few images give a poor estimate of it. So the
    variance of a location is shrunk towards the variance of its channel, with the weight of PRIOR_WEIGHT images.
    """

    centre: Tensor
    gain: Tensor

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = SmoothingPool(channels, stride, bias=False)
        self.register_buffer("centre", torch.zeros(1))
        self.register_buffer("gain", torch.ones(1))

    def fit(self, good: Tensor) -> None:
        self.pool.reset()
        batches = torch.split(good, _BATCH)
        centre = -mean_and_variance(batches, dim=(0,))[0].float()[None]
        _, variance = mean_and_variance((self.pool(batch + centre) for batch in batches), dim=(0,))
        shared = variance.mean(dim=(1, 2), keepdim=True).clamp(min=MIN_STD**2)
        variance = (len(good) * variance + PRIOR_WEIGHT * shared) / (len(good) + PRIOR_WEIGHT)
        self.pool.weight /= shared.sqrt().float()[..., None]
        self.register_buffer("centre", centre)
        self.register_buffer("gain", (shared / variance).sqrt().float()[None])

    def forward(self, features: Tensor) -> Tensor:
        scaled: Tensor = self.pool(features + self.centre) * self.gain
        return scaled


def mean_and_variance(batches: Iterable[Tensor], dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Returns mean and variance over the dimensions `dim` of all batches, in double precision."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        values = batch.double()
        total, squares = total + values.sum(dim), squares + values.square().sum(dim)
        count += values.numel()
    count //= total.numel()
    mean = total / count
    return mean, (squares / count - mean.square()).clamp(min=0)
