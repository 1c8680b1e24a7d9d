"""Anomaly map and image score: the last step of all anomaly models, computed from distances per cell.

    map    distances at the cells of the map, then a 3 x 3 mean of the sum over channels
    score  maximum of the map, minus half of its mean; plus the weighted evidence for a known defect, if the model has
           such a head (known_defect_head.py)

A slight deviation of the whole image (another lamp, another batch) matters less than a local deviation. Half of the
mean is a compromise: a defect that covers the whole part still counts half. On solar cells, cookies, toy figures and
ball screws, the subtraction raises the AUROC of float PaDiM by 0.005 to 0.02 against the maximum alone (means of three
seeds).

Sum, mean and difference are convolutions over concatenated channels instead of additions. The integer sums of a
convolution are exact, so both int8 files round alike, and equal weights are represented exactly.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from .feature_fusion import upsample_level
from .location_clusters import Grid

MEAN_WEIGHT = 0.5  # fraction of the mean of the map to subtract


class MapScore(nn.Module):
    """Distances N x channels x h x w -> anomaly map N x 1 x rows x columns and image score N.

    Args:
        cells: rows and columns of the map
        channels: number of distances per cell; the map adds them
        sign: -1 if the input is a negative distance
        limit: largest value of a cell, for the evidence, which shares its range
    """

    def __init__(self, cells: Grid, channels: int = 1, sign: float = 1.0, limit: float = 1.0) -> None:
        super().__init__()
        self.cells, self.limit = cells, limit
        self.raised: nn.Conv2d | None = None
        self.smooth = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        nn.init.constant_(self.smooth.weight, sign / 9)
        self.mean = nn.Conv2d(1, 1, cells, bias=False)
        nn.init.constant_(self.mean.weight, 1 / prod(cells))
        self.less = nn.Conv2d(2, 1, 1, bias=False)
        self.requires_grad_(False)
        self.less.weight.copy_(torch.tensor([1.0, -MEAN_WEIGHT])[None, :, None, None])

    @torch.no_grad()
    def set_evidence_weight(self, weight: float) -> None:
        """Lets evidence, 0 to `limit`, raise the score by `weight` times itself."""
        if self.raised is None:
            self.raised = nn.Conv2d(3, 1, 1, bias=False).requires_grad_(False)
        self.raised.weight.copy_(torch.tensor([1.0, -MEAN_WEIGHT, weight])[None, :, None, None])

    def forward(self, distance: Tensor, evidence: Tensor | None = None) -> tuple[Tensor, Tensor]:
        anomaly_map: Tensor = self.smooth(upsample_level(distance, self.cells))
        highest = anomaly_map.amax(dim=(1, 2, 3), keepdim=True)
        mean = self.mean(anomaly_map)
        if evidence is None or self.raised is None:
            score = self.less(torch.cat([highest, mean], dim=1))
        else:
            score = self.raised(torch.cat([highest, mean, evidence], dim=1))
        return anomaly_map, score.amax(dim=(1, 2, 3))  # each score is 1 x 1 x 1; the maximum removes these axes
