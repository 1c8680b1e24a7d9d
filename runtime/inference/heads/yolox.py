"""The decoder of YOLOX: one box for each cell, with an objectness and class scores.

Ge et al., "YOLOX: Exceeding YOLO Series in 2021", and `yolox/models/yolo_head.py` of Megvii-BaseDetection/YOLOX
(Apache-2.0): `decode_outputs` adds the cell to the center and takes the exponential of the sizes, both in strides. The
score is objectness times the highest class score, each after a sigmoid. No score exceeds its objectness, so cells with
a low objectness are skipped first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from .feature_levels import BoxCandidates, FeatureLevel, group_by_level, logit, sigmoid

_MAX_LOG_SIZE = 8.0  # a larger exponent would give a box wider than any frame


class YoloxDecoder:
    """Decodes `box0`, `objectness0`, `class0`, …: 4, 1 and K channels."""

    def __init__(self, manifest: Manifest) -> None:
        self.levels = group_by_level(manifest, ("box", "objectness", "class"))

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> BoxCandidates:
        return BoxCandidates.concatenate([self._decode_level(level, outputs, threshold) for level in self.levels])

    @staticmethod
    def _decode_level(level: FeatureLevel, outputs: dict[str, NDArray[Any]], threshold: float) -> BoxCandidates:
        cells = np.flatnonzero(level.cells_above("objectness", outputs, logit(threshold))[0])
        classes = level.dequantize("class", outputs, cells)
        best = classes.argmax(axis=1)
        likeliest = sigmoid(np.take_along_axis(classes, best[:, None], axis=1)[:, 0])
        scores = likeliest * sigmoid(level.dequantize("objectness", outputs, cells)[:, 0])
        above = scores >= threshold
        cells, scores, best = cells[above], scores[above], best[above]
        boxes = level.dequantize("box", outputs, cells)
        centers = (boxes[:, :2] + level.cell_positions(cells)) / level.grid_size
        sizes = np.exp(boxes[:, 2:].clip(max=_MAX_LOG_SIZE)) / level.grid_size
        return BoxCandidates.from_centers(centers, sizes, scores, best)
