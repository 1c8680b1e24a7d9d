"""One tapped level, smoothed, and measured against how it varies over good parts.

Both sorts take a 3 x 3 mean, which makes up for parts that are not put down to the pixel, and halve fine levels on the
way. What leaves them has mean 0 and about variance 1 over good parts:

    ByChannel   by mean and spread of the channel, wherever it is looked at
    ByPlace     by mean and spread of the channel at that place of the picture
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

GRID = 8  # pixels of the input per cell of the anomaly map
FLOOR = 1e-3  # of a standard deviation, for channels that never change
PRIOR = 40.0


class Pool(nn.Conv2d):
    """A depthwise 3 x 3 mean with TensorFlow's SAME padding, as in the backbone: N x C x H x W -> N x C x h x w."""

    def __init__(self, channels: int, stride: int, bias: bool) -> None:
        super().__init__(channels, channels, 3, stride, groups=channels, bias=bias)
        before = 1 if stride == 1 else 0
        self.pad = nn.ZeroPad2d((before, 1, before, 1))
        self.requires_grad_(False)
        self.reset()

    def reset(self) -> None:
        nn.init.constant_(self.weight, 1 / 9)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        pooled: Tensor = super().forward(self.pad(features))
        return pooled


class Level(nn.Module):
    """What the two sorts share."""

    pool: Pool

    def learn(self, good: Tensor) -> None:
        """Takes the means and the spreads of N x C x H x W features of good parts."""
        raise NotImplementedError


class ByChannel(Level):
    """One depthwise convolution, with mean and spread in its weights."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = Pool(channels, stride, bias=True)

    def learn(self, good: Tensor) -> None:
        self.pool.reset()
        spread, mean = torch.std_mean(self.pool(good).double(), dim=(0, 2, 3), correction=0)
        spread = spread.clamp(min=FLOOR)
        self.pool.weight /= spread.float()[:, None, None, None]
        assert self.pool.bias is not None
        self.pool.bias.copy_((-mean / spread).float())

    def forward(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.pool(features)
        return pooled


class ByPlace(Level):
    """Less the mean of the place before pooling, so that int8 need only span what varies; by its spread afterwards.

    What few images cannot tell is shrunk: a place's variance towards its channel's, by the weight of PRIOR images.
    """

    centre: Tensor
    gain: Tensor

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = Pool(channels, stride, bias=False)
        self.register_buffer("centre", torch.zeros(1))
        self.register_buffer("gain", torch.ones(1))

    def learn(self, good: Tensor) -> None:
        self.pool.reset()
        centre = -good.double().mean(dim=0, keepdim=True).float()
        variance = self.pool(good + centre).double().var(dim=0, correction=0)
        shared = variance.mean(dim=(1, 2), keepdim=True).clamp(min=FLOOR**2)
        variance = (len(good) * variance + PRIOR * shared) / (len(good) + PRIOR)
        self.pool.weight /= shared.sqrt().float()[..., None]
        self.register_buffer("centre", centre)
        self.register_buffer("gain", (shared / variance).sqrt().float()[None])

    def forward(self, features: Tensor) -> Tensor:
        scaled: Tensor = self.pool(features + self.centre) * self.gain
        return scaled
