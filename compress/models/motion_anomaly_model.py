"""Motion anomaly model: compares motion energy and direction per zone with normal footage, in a few convolutions.

`MotionEnergies` computes seven features for each zone of 8 x 8 pixels of the difference image
(runtime/inference/frame_differencing.py):

    energy     |now - earlier| and |earlier - earliest|, averaged
    change     |first difference - second difference|: large for motion that starts, stops or shakes, small for steady
               motion
    direction  right, left, down, up: large if the present energy is DIRECTION_SHIFT cells beside the earlier energy in
               this direction, but not in the opposite one. This is Reichardt's correlator ("Autocorrelation, a
               principle for the evaluation of sensory information by the central nervous system", 1961) with a minimum
               instead of a product. The minimum keeps the unit and needs only a clipped difference: min(a, b) is
               a - clip(a - b)

`ZoneAnomalyModel` divides each feature by its 0.99 quantile over normal footage, so that one zone in a hundred exceeds
it. The quantile is partly per location. The model averages the excess over the quantile. A deficit does not count, so a
quiet scene raises no alarm. No part of the model is trained on abnormal footage.

AUROC during the design, on the fight clips at 128 pixels (grouped by source video, three splits, float;
docs/benchmarks.md has the figures of the finished code):

    .80         a Gaussian per location, clipped at 4 standard deviations
    .78         this model
    .78         the distance to 256 stored zones (PatchCore)
    .47 to .71  PaDiM on EfficientNet-Lite0 features of these images

The Gaussian fails on one camera. Its footage shows only people who walk to the right. A person is so rare at each
location that any person exceeds 4 standard deviations. People who shake, run or go left get no higher score. This model
and PatchCore detect all of them, and this model is much cheaper.

The model is imprecise if footage is short: a location then has no quantile of its own (PRIOR_WEIGHT), and its usual
direction is unknown. The direction feature is strongest if an object moves 2 x DIRECTION_SHIFT input pixels per
spacing. It is weak for much slower or faster motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from .anomaly.image_score import MapScore
from .anomaly.standardization import CELL_PIXELS

DIRECTION_SHIFT = 2  # cells of 2 pixels
QUANTILE = 0.99
ENERGY_LIMIT = 4.0  # multiples of the quantile
PRIOR_WEIGHT = 40.0  # images; weight of the mean over all locations, relative to that of one location
MIN_ENERGY = 1e-3  # fraction of the energy of full contrast
QUANTILE_SAMPLE = 400_000  # zones from which a quantile is computed
_CHANNELS = 7


def _fixed_convolution(inputs: int, weight: Tensor, groups: int = 1, stride: int = 1, pad: int = 0) -> nn.Conv2d:
    layer = nn.Conv2d(
        inputs, len(weight), weight.shape[-1], stride, padding=pad, groups=groups, bias=False
    ).requires_grad_(False)
    layer.weight.copy_(weight)
    return layer


class MotionEnergies(nn.Module):
    """Difference images, N x 3 x S x S of -1…1 -> features N x 7 x S/8 x S/8, like a backbone with one level."""

    taps = (0,)
    channels: ClassVar = [_CHANNELS]
    strides: ClassVar = [CELL_PIXELS]

    @torch.no_grad()
    def __init__(self) -> None:
        super().__init__()
        self.shrink = _fixed_convolution(3, torch.full((3, 1, 2, 2), 1 / 4), groups=3, stride=2)
        first, second = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
        signs = torch.stack([first, -first, second, -second, first - second, second - first])
        self.signs = _fixed_convolution(3, signs[..., None, None])
        pairs = torch.eye(3).repeat_interleave(2, dim=1)
        self.smooth = _fixed_convolution(6, pairs[..., None, None].expand(3, 6, 3, 3) / 9, pad=1)
        beside = torch.zeros(4, 3, 2 * DIRECTION_SHIFT + 1, 2 * DIRECTION_SHIFT + 1)
        beside[:, 0, DIRECTION_SHIFT, DIRECTION_SHIFT] = 1
        for number, (across, down) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1))):
            beside[number, 1, DIRECTION_SHIFT - DIRECTION_SHIFT * down, DIRECTION_SHIFT - DIRECTION_SHIFT * across] = -1
        self.beside = _fixed_convolution(3, beside, pad=DIRECTION_SHIFT)
        against = torch.tensor([[-1.0, 1, 0, 0], [1, -1, 0, 0], [0, 0, -1, 1], [0, 0, 1, -1]])
        self.against = _fixed_convolution(4, against[..., None, None])
        self.mean = _fixed_convolution(_CHANNELS, torch.full((_CHANNELS, 1, 4, 4), 1 / 16), groups=_CHANNELS, stride=4)

    def forward(self, image: Tensor) -> list[Tensor]:
        energy = self.smooth(self.signs(self.shrink(image)).clamp(0.0, 1.0)).clamp(0.0, 1.0)
        direction = self.against(self.beside(energy).clamp(0.0, 1.0)).clamp(0.0, 1.0)
        return [self.mean(torch.cat([energy, direction], dim=1))]


class ZoneAnomalyModel(nn.Module):
    """Motion energies -> anomaly map N x 1 x S/8 x S/8 and image score N, in multiples of the normal quantile."""

    bounded_outputs: ClassVar = {"score": 0.0}
    gain: Tensor

    @torch.no_grad()
    def __init__(self, size: int) -> None:
        super().__init__()
        self.backbone = MotionEnergies()
        cells = size // CELL_PIXELS
        self.near = _fixed_convolution(_CHANNELS, torch.full((_CHANNELS, 1, 3, 3), 1 / 9), groups=_CHANNELS, pad=1)
        self.register_buffer("gain", torch.ones(1, _CHANNELS, cells, cells))
        self.beyond = nn.Conv2d(_CHANNELS, _CHANNELS, 1, groups=_CHANNELS).requires_grad_(False)
        nn.init.ones_(self.beyond.weight)
        assert self.beyond.bias is not None
        nn.init.constant_(self.beyond.bias, -1.0)
        self.mean = _fixed_convolution(_CHANNELS, torch.full((1, _CHANNELS, 1, 1), 1 / _CHANNELS))
        self.reading = MapScore((cells, cells))

    @torch.no_grad()
    def fit(self, features: Sequence[Tensor]) -> None:
        """Computes the quantiles from the motion energies of normal images."""
        energies = self.near(features[0])
        count, channels = energies.shape[:2]
        flat = energies.transpose(0, 1).reshape(channels, -1)
        sample = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(0))[:QUANTILE_SAMPLE]
        scale = torch.quantile(flat[:, sample], QUANTILE, dim=1).clamp(min=MIN_ENERGY)
        square = (energies**2).mean(dim=0)
        mean_square = square.mean(dim=(1, 2), keepdim=True).clamp(min=MIN_ENERGY**2)
        location = (((count * square + PRIOR_WEIGHT * mean_square) / (count + PRIOR_WEIGHT)) / mean_square).sqrt()
        self.register_buffer("gain", 1 / (scale[:, None, None] * (location + 1) / 2)[None])

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        relative = (self.near(features[0]) * self.gain).clamp(0.0, ENERGY_LIMIT)
        excess = self.beyond(relative).clamp(0.0, ENERGY_LIMIT - 1)  # an int8 clip must start at zero
        anomaly_map, score = self.reading(self.mean(excess))
        return anomaly_map, score
