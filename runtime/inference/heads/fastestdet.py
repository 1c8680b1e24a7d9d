"""The decoder of FastestDet: one grid, with an objectness, a box and the class scores of each cell.

It follows `handle_preds` in `utils/tool.py` of dog-qiuqiu/FastestDet (BSD-3-Clause). The center is the cell plus the
hyperbolic tangent of the first two numbers; the size is the sigmoid of the other two, as a fraction of the input. The
score is objectness^0.6 · (highest class probability)^0.4, with a softmax over the classes, so at most objectness^0.6.
Cells in which that is below the threshold are skipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from .classify import softmax
from .feature_levels import BoxCandidates, FeatureLevel, group_by_level, logit, sigmoid

_OBJECTNESS_EXPONENT, _CLASS_EXPONENT = 0.6, 0.4


class FastestDetDecoder:
    """Decodes `objectness0`, `box0`, `class0`: 1, 4 and K channels."""

    def __init__(self, manifest: Manifest) -> None:
        self.levels = group_by_level(manifest, ("objectness", "box", "class"))

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> BoxCandidates:
        return BoxCandidates.concatenate([self._decode_level(level, outputs, threshold) for level in self.levels])

    @staticmethod
    def _decode_level(level: FeatureLevel, outputs: dict[str, NDArray[Any]], threshold: float) -> BoxCandidates:
        min_objectness = threshold ** (1 / _OBJECTNESS_EXPONENT)
        cells = np.flatnonzero(level.cells_above("objectness", outputs, logit(min_objectness))[0])
        objectness = sigmoid(level.dequantize("objectness", outputs, cells)[:, 0])
        classes = softmax(level.dequantize("class", outputs, cells), 1.0)
        scores = objectness**_OBJECTNESS_EXPONENT * classes.max(axis=1) ** _CLASS_EXPONENT
        above = scores >= threshold
        cells, scores, best = cells[above], scores[above], classes.argmax(axis=1)[above]
        boxes = level.dequantize("box", outputs, cells)
        centers = (np.tanh(boxes[:, :2]) + level.cell_positions(cells)) / level.grid_size
        return BoxCandidates.from_centers(centers, sigmoid(boxes[:, 2:]), scores, best)
