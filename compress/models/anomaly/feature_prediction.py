"""Prediction of deep features from shallow ones: what holds for good parts, an anomaly breaks.

A student-teacher model without training by gradients. The student's hidden layers are random convolutions of the first
level, which see about 60 pixels around a cell (random features: Rahimi and Recht, 2007). Its last layer is the
least-squares solution that predicts the other levels, the teacher's features, on good images. Where the prediction
fails, the part is unusual (the idea of Bergmann et al., "Uninformed Students", 2020).

    hidden    3 x 3, 5 x 5 depthwise, 1 x 1 convolution of the first level, with random weights that are always the same
    predict   per level, at its own resolution: 1 x 1 convolution of the hidden channels, minus the level's difference
              from the mean of the location, in standard deviations
    distance  clip, square, mean over the channels, divided by what is usual at the location; mean over the levels
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vedette.runtime.errors import ConfigProblem

from ..efficientnet_lite import pad_same
from ..image_size import ImageSize, count_cells
from .feature_fusion import FeatureLevels, flatten_cells, split_batches, upsample_level
from .location_clusters import Grid
from .standardization import CELL_PIXELS, MIN_STD, PRIOR_WEIGHT, mean_and_variance

FIRST_CHANNELS, HIDDEN_CHANNELS = 96, 256
ERROR_LIMIT = 4.0  # standard deviations of a channel
GAIN_LIMIT = 3.0  # by how much a location may be more regular than the mean of all
RIDGE = 1e-2  # of the mean square of the hidden channels
_BIAS_SPREAD = 0.5  # of the random biases; before its activation a hidden channel has a standard deviation of 1
_DRAWING_IMAGES = 64  # whose hidden channels set the scale of the random weights
_SEED = 0


class FeaturePrediction(nn.Module):
    """Features, N x C x H x W per level -> squared error of prediction, N x 1 x rows x columns; 1 is usual.

    Args:
        levels: levels of the features, at least two; the first has a cell of the map per cell, or finer ones
        size: size of the input

    Raises:
        ConfigProblem: there are other levels.
    """

    def __init__(self, levels: FeatureLevels, size: ImageSize) -> None:
        super().__init__()
        if len(levels.channels) < 2 or levels.strides[0] > CELL_PIXELS:
            raise ConfigProblem(
                "model.blocks: the student predicts features from those of an earlier block",
                "name two blocks or more, the first of them 1 to 4",
            )
        self.cells = count_cells(size, CELL_PIXELS)
        self.hidden = nn.ModuleList(_hidden_layers(levels.channels[0], CELL_PIXELS // levels.strides[0]))
        self.coarser = nn.Conv2d(HIDDEN_CHANNELS, HIDDEN_CHANNELS, 2, 2, groups=HIDDEN_CHANNELS, bias=False)
        self.levels = nn.ModuleList(
            LevelPrediction(channels, count_cells(size, max(stride, CELL_PIXELS)))
            for channels, stride in zip(levels.channels[1:], levels.strides[1:], strict=True)
        )
        self.mean = nn.Conv2d(len(self.levels), 1, 1, bias=False)
        self.requires_grad_(False)
        nn.init.constant_(self.coarser.weight, 0.25)
        nn.init.constant_(self.mean.weight, 1 / len(self.levels))

    @torch.no_grad()
    def fit(self, good: Sequence[Tensor]) -> None:
        """Fits the prediction to features of good images, N x C x H x W per level."""
        self._draw_hidden_layers(good[0])
        for level, features in zip(self._levels, good[1:], strict=True):
            level.fit_scale(features)
        for batch in split_batches(good):
            for level, hidden, features in self._inputs_of_levels(batch):
                level.add_products(hidden, features)
        for level in self._levels:
            level.solve()
        for batch in split_batches(good):
            for level, hidden, features in self._inputs_of_levels(batch):
                level.add_errors(hidden, features)
        for level in self._levels:
            level.fit_gain(len(good[0]))

    @property
    def _levels(self) -> list[LevelPrediction]:
        return [level for level in self.levels if isinstance(level, LevelPrediction)]

    def _draw_hidden_layers(self, first: Tensor) -> None:
        """Draws the weights, and scales them such that each channel has a variance of 1 before its activation."""
        generator = torch.Generator().manual_seed(_SEED)
        inputs = first[:: -(-len(first) // _DRAWING_IMAGES)]
        scale = mean_and_variance((inputs,), dim=(0, 2, 3))[1].sqrt().clamp(min=MIN_STD).float()
        for layer in self.hidden:
            assert isinstance(layer, _PaddedConvolution)
            assert layer.bias is not None
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
            layer.bias.zero_()
            if layer is self.hidden[0]:
                layer.weight /= scale[None, :, None, None]
            offset = torch.randn(layer.bias.shape, generator=generator) * _BIAS_SPREAD
            mean, variance = mean_and_variance((layer(inputs),), dim=(0, 2, 3))
            std = variance.sqrt().clamp(min=MIN_STD).float()
            layer.weight /= std[:, None, None, None]
            layer.bias.copy_(offset - mean.float() / std)
            inputs = layer(inputs).relu()

    def _inputs_of_levels(self, features: Sequence[Tensor]) -> Iterator[tuple[LevelPrediction, Tensor, Tensor]]:
        """Yields each predicted level, the hidden channels on its grid, and its features."""
        hidden = features[0]
        for layer in self.hidden:
            hidden = layer(hidden).relu()
        grid = self.cells  # of the hidden channels; levels become coarser from one to the next
        for level, each in zip(self._levels, features[1:], strict=True):
            while grid > level.grid:
                hidden = self.coarser(hidden)
                grid = hidden.shape[2], hidden.shape[3]
            yield level, hidden, each

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        parts = [
            upsample_level(level(hidden, each), self.cells) for level, hidden, each in self._inputs_of_levels(features)
        ]
        mean: Tensor = self.mean(torch.cat(parts, dim=1))
        return mean


class LevelPrediction(nn.Module):
    """Hidden channels and features of a level, N x C x rows x columns -> squared error, N x 1 x rows x columns."""

    centre: Tensor
    gain: Tensor

    def __init__(self, channels: int, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.unit = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        self.predict = nn.Conv2d(HIDDEN_CHANNELS, channels, 1)
        self.mean = nn.Conv2d(channels, 1, 1, bias=False)
        nn.init.constant_(self.mean.weight, 1 / channels)
        self.register_buffer("centre", torch.zeros(1, channels, *grid))
        self.register_buffer("gain", torch.ones(1, 1, *grid))

    def fit_scale(self, good: Tensor) -> None:
        """Computes the mean of each location and the standard deviation of each channel from good images."""
        mean, variance = mean_and_variance((batch for (batch,) in split_batches([good])), dim=(0,))
        self.centre.copy_(-mean[None])
        self.unit.weight.copy_(1 / variance.mean((1, 2)).sqrt().clamp(min=MIN_STD)[:, None, None, None])
        width = HIDDEN_CHANNELS + 1
        self._squares = torch.zeros(width, width, dtype=torch.float64)
        self._products = torch.zeros(width, len(variance), dtype=torch.float64)
        self._errors = torch.zeros(self.grid)
        self.gain.fill_(1)

    def add_products(self, hidden: Tensor, features: Tensor) -> None:
        """Adds a batch to the least squares."""
        rows = functional.pad(flatten_cells(hidden), (0, 1), value=1.0)
        self._squares += rows.T @ rows
        self._products += rows.T @ flatten_cells(self._deviation(features))

    def solve(self) -> None:
        """Solves the least squares, with a small ridge."""
        assert self.predict.bias is not None
        ridge = torch.full((len(self._squares),), RIDGE * float(self._squares.diagonal()[:-1].mean()))
        ridge[-1] = 0
        solved = torch.linalg.solve(self._squares + ridge.diag(), self._products).float()
        self.predict.weight.copy_(solved[:-1].T[..., None, None])
        self.predict.bias.copy_(solved[-1])

    def add_errors(self, hidden: Tensor, features: Tensor) -> None:
        """Adds the errors of a batch."""
        self._errors += self(hidden, features).sum((0, 1))

    def fit_gain(self, count: int) -> None:
        """Divides errors from now on by what is usual at the location, drawn towards the mean like a variance."""
        usual = (self._errors + PRIOR_WEIGHT * self._errors.mean() / count) / (count + PRIOR_WEIGHT)
        usual = usual.clamp(min=max(float(usual.mean()) / GAIN_LIMIT, MIN_STD**2))
        self.gain.copy_(1 / usual)

    def _deviation(self, features: Tensor) -> Tensor:
        deviation: Tensor = self.unit(features + self.centre)
        return deviation

    def forward(self, hidden: Tensor, features: Tensor) -> Tensor:
        error = (self._deviation(features) - self.predict(hidden)).clamp(-ERROR_LIMIT, ERROR_LIMIT)
        distance: Tensor = self.mean(error * error) * self.gain
        return distance.clamp(0.0, ERROR_LIMIT**2)


class _PaddedConvolution(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, as in the backbone."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        self.pad = pad_same(kernel, stride)

    def forward(self, features: Tensor) -> Tensor:
        convolved: Tensor = super().forward(self.pad(features))
        return convolved


def _hidden_layers(inputs: int, stride: int) -> list[_PaddedConvolution]:
    return [
        _PaddedConvolution(inputs, FIRST_CHANNELS, 3, stride),
        _PaddedConvolution(FIRST_CHANNELS, FIRST_CHANNELS, 5, groups=FIRST_CHANNELS),
        _PaddedConvolution(FIRST_CHANNELS, HIDDEN_CHANNELS, 1),
    ]
