"""Motion energy and direction by zone, and how far they lie beyond what is usual there: a graph of few convolutions.

`Energies` computes seven numbers for each zone of 8 x 8 pixels of the difference picture
(runtime/inference/frame_differencing.py):

    energy     |now - earlier| and |earlier - earliest|, averaged
    change     |first difference - second|: what starts, stops or shakes; even motion has little
    direction  right, left, down, up: where the energy of now lies as far beside that of before as SHIFT says, and not
               on the other side of it. That is Reichardt's correlator ("Autocorrelation, a principle for the
               evaluation of sensory information by the central nervous system", 1961) with the smaller of the two for
               their product, which keeps the unit and needs no more than a clipped difference: min(a, b) is a
               less clip(a - b)

`Zones` divides each by a quantile of it over normal footage (a zone in a hundred has more), by place as far as the
footage can tell, and averages what goes beyond. It counts what is more than usual, never what is less: a quiet scene is
no alarm. Nothing of it is trained on anything abnormal.

Measured while it was designed, on the fight clips at 128 pixels (grouped by source video, three divisions, float; the
figures in docs/benchmarks.md are those of the finished code): a Gaussian by place, clipped at 4 standard deviations,
gave .80, this .78, the distance to 256 remembered zones (PatchCore) .78, EfficientNet-Lite0 features of the same
pictures in PaDiM's way .47 to .71. The Gaussian failed on one camera whose footage holds walkers to the right alone:
there a walker is so rare at each place that everything is beyond 4 deviations, and those who shook, ran or went left
scored no higher. This and PatchCore told all of them; this is the cheaper by far.

It is imprecise where footage is short: then a place has no quantile of its own (PRIOR), and neither is the direction
known there. Direction shows best where something moves 2 SHIFT pixels of the input in one spacing, and fades for what
is much slower or faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from .anomaly.image_score import Reading
from .anomaly.standardization import GRID

SHIFT = 2  # cells of 2 pixels
QUANTILE = 0.99
LIMIT = 4.0  # times the quantile
PRIOR = 40.0  # pictures that the whole weighs against a place
FLOOR = 1e-3  # of the energy of full contrast
SAMPLE = 400_000  # zones that a quantile is taken of
_CHANNELS = 7


def _fixed(inputs: int, weight: Tensor, groups: int = 1, stride: int = 1, pad: int = 0) -> nn.Conv2d:
    layer = nn.Conv2d(
        inputs, len(weight), weight.shape[-1], stride, padding=pad, groups=groups, bias=False
    ).requires_grad_(False)
    layer.weight.copy_(weight)
    return layer


class Energies(nn.Module):
    """N x 3 x S x S, differences of -1…1 -> N x 7 x S/8 x S/8, as a backbone of one level."""

    taps = (0,)
    channels: ClassVar = [_CHANNELS]
    strides: ClassVar = [GRID]

    @torch.no_grad()
    def __init__(self) -> None:
        super().__init__()
        self.shrink = _fixed(3, torch.full((3, 1, 2, 2), 1 / 4), groups=3, stride=2)
        first, second = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
        signs = torch.stack([first, -first, second, -second, first - second, second - first])
        self.signs = _fixed(3, signs[..., None, None])
        pairs = torch.eye(3).repeat_interleave(2, dim=1)
        self.smooth = _fixed(6, pairs[..., None, None].expand(3, 6, 3, 3) / 9, pad=1)
        beside = torch.zeros(4, 3, 2 * SHIFT + 1, 2 * SHIFT + 1)
        beside[:, 0, SHIFT, SHIFT] = 1
        for number, (across, down) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1))):
            beside[number, 1, SHIFT - SHIFT * down, SHIFT - SHIFT * across] = -1
        self.beside = _fixed(3, beside, pad=SHIFT)
        against = torch.tensor([[-1.0, 1, 0, 0], [1, -1, 0, 0], [0, 0, -1, 1], [0, 0, 1, -1]])
        self.against = _fixed(4, against[..., None, None])
        self.mean = _fixed(_CHANNELS, torch.full((_CHANNELS, 1, 4, 4), 1 / 16), groups=_CHANNELS, stride=4)

    def forward(self, image: Tensor) -> list[Tensor]:
        energy = self.smooth(self.signs(self.shrink(image)).clamp(0.0, 1.0)).clamp(0.0, 1.0)
        direction = self.against(self.beside(energy).clamp(0.0, 1.0)).clamp(0.0, 1.0)
        return [self.mean(torch.cat([energy, direction], dim=1))]


class Zones(nn.Module):
    """Energies -> anomaly map N x 1 x S/8 x S/8 and score N, in quantiles of what is usual."""

    bounded_outputs: ClassVar = {"score": 0.0}
    gain: Tensor

    @torch.no_grad()
    def __init__(self, size: int) -> None:
        super().__init__()
        self.backbone = Energies()
        cells = size // GRID
        self.near = _fixed(_CHANNELS, torch.full((_CHANNELS, 1, 3, 3), 1 / 9), groups=_CHANNELS, pad=1)
        self.register_buffer("gain", torch.ones(1, _CHANNELS, cells, cells))
        self.beyond = nn.Conv2d(_CHANNELS, _CHANNELS, 1, groups=_CHANNELS).requires_grad_(False)
        nn.init.ones_(self.beyond.weight)
        assert self.beyond.bias is not None
        nn.init.constant_(self.beyond.bias, -1.0)
        self.mean = _fixed(_CHANNELS, torch.full((1, _CHANNELS, 1, 1), 1 / _CHANNELS))
        self.reading = Reading(cells)

    @torch.no_grad()
    def fit(self, features: Sequence[Tensor]) -> None:
        """Learns what is usual, by zone, from the energies of normal pictures."""
        usual = self.near(features[0])
        count, channels = usual.shape[:2]
        flat = usual.transpose(0, 1).reshape(channels, -1)
        shown = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(0))[:SAMPLE]
        scale = torch.quantile(flat[:, shown], QUANTILE, dim=1).clamp(min=FLOOR)
        square = (usual**2).mean(dim=0)
        whole = square.mean(dim=(1, 2), keepdim=True).clamp(min=FLOOR**2)
        place = (((count * square + PRIOR * whole) / (count + PRIOR)) / whole).sqrt()
        self.register_buffer("gain", 1 / (scale[:, None, None] * (place + 1) / 2)[None])

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        times = (self.near(features[0]) * self.gain).clamp(0.0, LIMIT)
        beyond = self.beyond(times).clamp(0.0, LIMIT - 1)  # integers can clip at zero, and at no other low end
        anomaly_map, score = self.reading(self.mean(beyond))
        return anomaly_map, score
