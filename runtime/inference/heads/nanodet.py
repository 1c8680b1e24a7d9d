"""NanoDet: a score for each class, and how far each side is from the middle of the cell, as a distribution.

`nanodet/model/head/gfl_head.py` of RangiLyu/nanodet (Apache-2.0), after Li et al., "Generalized Focal Loss", 2020. A
distance is the mean of its bins, in strides, from the middle of the cell. There is no objectness: the score of a class
is its sigmoid, and one cell may answer with several classes.

Older releases (NanoDet-m) take the middle of a cell at (cell + 1/2) · stride, NanoDet-Plus its upper left corner; this
is the older. Boxes of a NanoDet-Plus would lie half a cell too far right and down.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from .feature_levels import Candidates, Level, expected, levels, logit, sigmoid


class NanoDet:
    """`box0`, `class0`, …: 4 · bins and K channels."""

    def __init__(self, manifest: Manifest) -> None:
        self.levels = levels(manifest, ("box", "class"))

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> Candidates:
        return Candidates.joined([distributed(level, outputs, threshold) for level in self.levels])


def distributed(level: Level, outputs: dict[str, NDArray[Any]], threshold: float) -> Candidates:
    """Every class that is sure enough of every cell, with the box of the cell."""
    classes, cells = np.nonzero(level.above("class", outputs, logit(threshold)))
    few, places = np.unique(cells, return_inverse=True)
    scores = sigmoid(level.real("class", outputs, few)[places, classes])
    distances = expected(level.real("box", outputs, few))
    middles = level.corners(few) + 0.5
    edges = np.hstack([middles - distances[:, :2], middles + distances[:, 2:]]) / np.tile(level.grid, 2)
    return Candidates(edges[places], scores, classes)
