"""FastestDet: one grid, with an objectness, a box and the classes of each cell.

`utils/tool.py` of dog-qiuqiu/FastestDet (BSD-3-Clause), `handle_preds`: the centre is the cell plus the hyperbolic
tangent of the first two numbers, the size the sigmoid of the others, a share of the input. The score is
objectness^0.6 · likeliest class^0.4, the classes being a softmax, so no more than objectness^0.6: where that is too
little, nothing else is looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from .classify import softmax
from .feature_levels import Candidates, Level, levels, logit, sigmoid

_OBJECTNESS, _CLASS = 0.6, 0.4


class FastestDet:
    """`objectness0`, `box0`, `class0`: 1, 4 and K channels."""

    def __init__(self, manifest: Manifest) -> None:
        self.levels = levels(manifest, ("objectness", "box", "class"))

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> Candidates:
        return Candidates.joined([self._of(level, outputs, threshold) for level in self.levels])

    @staticmethod
    def _of(level: Level, outputs: dict[str, NDArray[Any]], threshold: float) -> Candidates:
        least = threshold ** (1 / _OBJECTNESS)
        cells = np.flatnonzero(level.above("objectness", outputs, logit(least))[0])
        objectness = sigmoid(level.real("objectness", outputs, cells)[:, 0])
        classes = softmax(level.real("class", outputs, cells), 1.0)
        scores = objectness**_OBJECTNESS * classes.max(axis=1) ** _CLASS
        sure = scores >= threshold
        cells, scores, best = cells[sure], scores[sure], classes.argmax(axis=1)[sure]
        boxes = level.real("box", outputs, cells)
        centres = (np.tanh(boxes[:, :2]) + level.corners(cells)) / level.grid
        return Candidates.around(centres, sigmoid(boxes[:, 2:]), scores, best)
