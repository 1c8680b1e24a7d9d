"""Classifier head: moment pooling and a linear layer on the backbone, as a graph for integer back ends.

    unit    per feature level: standardizes each channel over all locations and clips it
    pool    over the whole map: mean and mean square of each channel
    head    1 x 1 convolution over all pooled moments: one score per class

The mean square detects small defects. A crack covers a hundredth of the image. It changes the mean of a channel only
slightly, but the mean square strongly. On solar cells, with the frozen pretrained backbone, the mean squares raise the
accuracy from 0.829 to 0.846.

The means are depthwise convolutions with a kernel as large as the map. Their weights and biases include the scale and
offset of each channel, so all output channels have one range. They therefore use the int8 range evenly, and all levels
can be concatenated for one convolution with exact integer sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import torch
from torch import Tensor, nn

from .efficientnet_lite import Backbone
from .image_size import ImageSize, height_and_width

OUTPUTS = ("scores",)
FEATURE_LIMIT = 4.0  # standard deviations of a channel over all locations
MOMENT_LIMIT = 8.0  # standard deviations of a pooled moment over images
_MIN_STD = 1e-3  # smallest standard deviation, for constant channels


class GlobalMeanPool(nn.Conv2d):
    """Mean of each channel over the whole map, with frozen weights: N x C x H x W -> N x C x 1 x 1."""

    def __init__(self, channels: int, size: ImageSize) -> None:
        super().__init__(channels, channels, size, groups=channels)
        self.requires_grad_(False)
        nn.init.constant_(self.weight, 1 / prod(height_and_width(size)))
        nn.init.zeros_(self._offset)

    @property
    def _offset(self) -> Tensor:
        assert self.bias is not None  # a convolution has a bias by default
        return self.bias

    def standardize(self, pooled: Tensor) -> Tensor:
        """Folds the mean and standard deviation of pool outputs, N x C x 1 x 1, into the weights of this pool.

        Returns:
            the standardized outputs
        """
        mean, std = pooled.mean(dim=0), pooled.std(dim=0).clamp(min=_MIN_STD)
        self.weight /= std[..., None]
        self._offset.sub_(mean.flatten()).div_(std.flatten())
        return (pooled - mean) / std


class MomentPooling(nn.Module):
    """Mean and mean square of each channel of one level: N x C x S x S -> two tensors of N x C x 1 x 1."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.unit = nn.Conv2d(channels, channels, 1, groups=channels).requires_grad_(False)
        self.mean = GlobalMeanPool(channels, size)
        self.square = GlobalMeanPool(channels, size)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Sets the standardization from the mean and standard deviation of each channel over all locations, C each."""
        assert self.unit.bias is not None
        std = std.clamp(min=_MIN_STD)
        self.unit.weight.copy_((1 / std)[:, None, None, None])
        self.unit.bias.copy_(-mean / std)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        deviation = self.unit(features).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
        return self.mean(deviation), self.square(deviation * deviation)


class Classifier(nn.Module):
    """Features, N x C x H x W per feature level -> scores of K classes, N x K x 1 x 1."""

    def __init__(self, backbone: Backbone, classes: int, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        sizes = zip(backbone.channels, backbone.strides, strict=True)
        self.levels = nn.ModuleList(MomentPooling(channels, size // stride) for channels, stride in sizes)
        self.head = nn.Conv2d(2 * sum(backbone.channels), classes, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def pool(self, features: Sequence[Tensor]) -> Tensor:
        """Returns the moments of all levels, concatenated and clipped: N x width x 1 x 1."""
        moments = [moment for level, maps in zip(self.levels, features, strict=True) for moment in level(maps)]
        return torch.cat([moment.clamp(-MOMENT_LIMIT, MOMENT_LIMIT) for moment in moments], dim=1)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        return (self.head(self.pool(features)),)

    @torch.no_grad()
    def fit_statistics(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """Sets the standardization of each level from the features of images, batch by batch."""
        statistics = [
            [torch.stack([each, each**2], dim=1).double().mean(dim=(3, 4)) for each in batch] for batch in batches
        ]
        for level, moments in zip(self.levels, zip(*statistics, strict=True), strict=True):
            assert isinstance(level, MomentPooling)
            mean, square = torch.cat(moments).mean(dim=0)
            level.set_statistics(mean.float(), (square - mean**2).clamp(min=0).sqrt().float())

    @torch.no_grad()
    def standardize(self, pooled: Tensor) -> Tensor:
        """Folds the mean and standard deviation of outputs of `pool` into the weights of the pools.

        Returns:
            the standardized outputs
        """
        pools = [pool for level in self.levels for pool in level.children() if isinstance(pool, GlobalMeanPool)]
        parts = torch.split(pooled, [pool.in_channels for pool in pools], dim=1)
        standardized = [pool.standardize(part) for pool, part in zip(pools, parts, strict=True)]
        return torch.cat(standardized, dim=1).clamp(-MOMENT_LIMIT, MOMENT_LIMIT)

    @torch.no_grad()
    def set_class_priors(self, priors: Tensor) -> None:
        """Adds the log priors of the classes, K, to the scores of a head that was trained on balanced classes."""
        self.add_to_scores((priors / priors.mean()).log())

    @torch.no_grad()
    def add_to_scores(self, scores: Tensor) -> None:
        """Adds an offset per class, K, to the scores."""
        assert self.head.bias is not None
        self.head.bias += scores
