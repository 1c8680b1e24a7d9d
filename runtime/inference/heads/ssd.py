"""SSD: at each cell several boxes to start from, and for each how far the object's box is off, and its classes.

Liu et al., "SSD: Single Shot MultiBox Detector", 2016, as the TensorFlow Object Detection API (Apache-2.0) has it: the
box is y, x, height, width; the centre is moved by a tenth of its numbers times the starting box, the size multiplied by
the exponential of a fifth (`box_coders/faster_rcnn_box_coder.py`, scales 10, 10, 5, 5). A class is a sigmoid; of each
starting box only the likeliest class is taken, as the post-processing operator of TFLite does it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from .feature_levels import Candidates, Level, levels, logit, sigmoid

_MOVED, _SCALED = 10.0, 5.0
_LARGEST = 8.0  # the exponential of more would be wider than any frame


class Ssd:
    """`box0`, `class0`, …: A · 4 and A · K channels for A starting boxes."""

    def __init__(self, manifest: Manifest) -> None:
        assert manifest.boxes is not None
        self.levels = levels(manifest, ("box", "class"))
        self.anchors = [np.array(each, np.float32) for each in manifest.boxes.anchors]

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> Candidates:
        pairs = zip(self.levels, self.anchors, strict=True)
        return Candidates.joined([self._of(level, anchors, outputs, threshold) for level, anchors in pairs])

    @staticmethod
    def _of(level: Level, anchors: NDArray[Any], outputs: dict[str, NDArray[Any]], threshold: float) -> Candidates:
        count = len(anchors)
        heard = level.above("class", outputs, logit(threshold))
        starts, cells = np.nonzero(heard.reshape(count, -1, heard.shape[1]).any(axis=1))
        each = np.arange(len(cells))
        classes = level.real("class", outputs, cells)
        classes = classes.reshape(len(cells), count, classes.shape[1] // count)[each, starts]
        best = classes.argmax(axis=1)
        boxes = level.real("box", outputs, cells).reshape(len(cells), count, 4)[each, starts]
        start = anchors[starts]
        middles = (level.corners(cells)[:, ::-1] + 0.5) / level.grid[::-1]
        centres = boxes[:, :2] / _MOVED * start + middles
        sizes = np.exp((boxes[:, 2:] / _SCALED).clip(max=_LARGEST)) * start
        scores = sigmoid(np.take_along_axis(classes, best[:, None], axis=1)[:, 0])
        return Candidates.around(centres[:, ::-1], sizes[:, ::-1], scores, best)
