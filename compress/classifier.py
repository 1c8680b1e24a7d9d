"""The backbone and a linear head, as a graph that an integer back end can run.

    pool    mean over the whole feature map, in units of the channel's standard deviation
    head    1 x 1 convolution: one score per class

The mean is written as a depthwise convolution as large as the map. So it takes the channel's own scale and offset into
its weights and bias, and what leaves it spans the same range in every channel: the integers are spent evenly, which one
scale for the raw means would not do. What several tapped levels say is added, so that their maps are never joined.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .backbone import Backbone

OUTPUTS = ("scores",)
_FLOOR = 1e-3  # of a standard deviation, for channels that never change


class Pool(nn.Conv2d):
    """The mean of each channel over the whole map, frozen: N x C x S x S -> N x C x 1 x 1."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__(channels, channels, size, groups=channels)
        self.requires_grad_(False)
        self.weight.fill_(1 / size**2)
        self.offset.zero_()

    @property
    def offset(self) -> Tensor:
        assert self.bias is not None  # a convolution has one unless told otherwise
        return self.bias

    def standardise(self, pooled: Tensor) -> Tensor:
        """Takes mean and spread of `pooled`, N x C x 1 x 1, which this pool has made, into it; what it now makes."""
        mean, spread = pooled.mean(dim=0), pooled.std(dim=0).clamp(min=_FLOOR)
        self.weight /= spread[..., None]
        self.offset.sub_(mean.flatten()).div_(spread.flatten())
        return (pooled - mean) / spread


class Classifier(nn.Module):
    """Features, per tapped level N x C x H x W -> scores N x K x 1 x 1."""

    def __init__(self, backbone: Backbone, classes: int, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        sizes = list(zip(backbone.channels, backbone.strides, strict=True))
        self.pools = nn.ModuleList(Pool(channels, size // stride) for channels, stride in sizes)
        self.heads = nn.ModuleList(nn.Conv2d(channels, classes, 1) for channels, _ in sizes)
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)

    def pool(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Of each level N x C x 1 x 1."""
        return [pool(each) for pool, each in zip(self.pools, features, strict=True)]

    def answer(self, pooled: Sequence[Tensor]) -> Tensor:
        """Scores N x K x 1 x 1."""
        scores: list[Tensor] = [head(each) for head, each in zip(self.heads, pooled, strict=True)]
        total = scores[0]
        for each in scores[1:]:
            total = total + each
        return total

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        return (self.answer(self.pool(features)),)

    def standardise(self, pooled: Sequence[Tensor]) -> list[Tensor]:
        """Takes mean and spread of `pooled`, which these pools have made, into them; what they now make instead."""
        pools = [pool for pool in self.pools if isinstance(pool, Pool)]
        return [pool.standardise(each) for pool, each in zip(pools, pooled, strict=True)]
