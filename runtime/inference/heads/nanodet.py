"""The decoder of NanoDet: class scores, and the distance of each side from the cell's center as a distribution.

It follows `nanodet/model/head/gfl_head.py` of RangiLyu/nanodet (Apache-2.0), after Li et al., "Generalized Focal Loss",
2020. A distance is the mean of its bins, in strides, from the center of the cell. There is no objectness: the score of
a class is its sigmoid, and one cell may report several classes.

Older releases (NanoDet-m) place the center of a cell at (cell + 1/2) · stride, NanoDet-Plus at its top left corner.
This decoder follows the older ones; boxes of a NanoDet-Plus would lie half a cell too far right and down.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from .feature_levels import BoxCandidates, FeatureLevel, decode_box_distances, group_by_level, logit, sigmoid


class NanoDetDecoder:
    """Decodes `box0`, `class0`, …: 4 · bins and K channels."""

    def __init__(self, manifest: Manifest) -> None:
        self.levels = group_by_level(manifest, ("box", "class"))

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> BoxCandidates:
        return BoxCandidates.concatenate(
            [decode_distance_distribution(level, outputs, threshold) for level in self.levels]
        )


def decode_distance_distribution(
    level: FeatureLevel, outputs: dict[str, NDArray[Any]], threshold: float
) -> BoxCandidates:
    """All classes with a score of at least `threshold`, in every cell, with the box of the cell."""
    classes, cells = np.nonzero(level.cells_above("class", outputs, logit(threshold)))
    unique_cells, positions = np.unique(cells, return_inverse=True)
    scores = sigmoid(level.dequantize("class", outputs, unique_cells)[positions, classes])
    distances = decode_box_distances(level.dequantize("box", outputs, unique_cells))
    centers = level.cell_positions(unique_cells) + 0.5
    edges = np.hstack([centers - distances[:, :2], centers + distances[:, 2:]]) / np.tile(level.grid_size, 2)
    return BoxCandidates(edges[positions], scores, classes)
