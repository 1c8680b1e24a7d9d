"""YOLOX: one box for each cell, with an objectness and a score for each class.

Ge et al., "YOLOX: Exceeding YOLO Series in 2021", and `yolox/models/yolo_head.py` of Megvii-BaseDetection/YOLOX
(Apache-2.0): `decode_outputs` adds the cell to the centre and takes the exponential of the sizes, both in strides; the
score is objectness times the likeliest class, both behind a sigmoid. Nothing can score higher than its objectness, so
that is looked at first, and where no object is, that is all that is looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from .feature_levels import Candidates, Level, levels, logit, sigmoid

_LARGEST = 8.0  # the exponential of more would be wider than any frame


class Yolox:
    """`box0`, `objectness0`, `class0`, …: 4, 1 and K channels."""

    def __init__(self, manifest: Manifest) -> None:
        self.levels = levels(manifest, ("box", "objectness", "class"))

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> Candidates:
        return Candidates.joined([self._of(level, outputs, threshold) for level in self.levels])

    @staticmethod
    def _of(level: Level, outputs: dict[str, NDArray[Any]], threshold: float) -> Candidates:
        cells = np.flatnonzero(level.above("objectness", outputs, logit(threshold))[0])
        classes = level.real("class", outputs, cells)
        best = classes.argmax(axis=1)
        likeliest = sigmoid(np.take_along_axis(classes, best[:, None], axis=1)[:, 0])
        scores = likeliest * sigmoid(level.real("objectness", outputs, cells)[:, 0])
        sure = scores >= threshold
        cells, scores, best = cells[sure], scores[sure], best[sure]
        boxes = level.real("box", outputs, cells)
        centres = (boxes[:, :2] + level.corners(cells)) / level.grid
        sizes = np.exp(boxes[:, 2:].clip(max=_LARGEST)) / level.grid
        return Candidates.around(centres, sizes, scores, best)
