"""The decoder of SSD: several anchors at each cell, and for each anchor the offset of the box and the class scores.

Liu et al., "SSD: Single Shot MultiBox Detector", 2016, in the form of the TensorFlow Object Detection API (Apache-2.0).
A box is y, x, height, width. The center moves by a tenth of its numbers times the anchor; the size is multiplied by the
exponential of a fifth (`box_coders/faster_rcnn_box_coder.py`, scales 10, 10, 5, 5). A class score is a sigmoid. Only
the likeliest class of each anchor is used, as in the post-processing operator of TFLite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from .feature_levels import BoxCandidates, FeatureLevel, group_by_level, logit, sigmoid

_CENTER_SCALE, _SIZE_SCALE = 10.0, 5.0
_MAX_LOG_SIZE = 8.0  # a larger exponent would give a box wider than any frame


class SsdDecoder:
    """Decodes `box0`, `class0`, …: A · 4 and A · K channels for A anchors."""

    def __init__(self, manifest: Manifest) -> None:
        assert manifest.boxes is not None
        self.levels = group_by_level(manifest, ("box", "class"))
        self.anchors = [np.array(each, np.float32) for each in manifest.boxes.anchors]

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> BoxCandidates:
        pairs = zip(self.levels, self.anchors, strict=True)
        return BoxCandidates.concatenate(
            [self._decode_level(level, anchors, outputs, threshold) for level, anchors in pairs]
        )

    @staticmethod
    def _decode_level(
        level: FeatureLevel, anchors: NDArray[Any], outputs: dict[str, NDArray[Any]], threshold: float
    ) -> BoxCandidates:
        count = len(anchors)
        above = level.cells_above("class", outputs, logit(threshold))
        anchor_indices, cells = np.nonzero(above.reshape(count, -1, above.shape[1]).any(axis=1))
        candidate = np.arange(len(cells))
        classes = level.dequantize("class", outputs, cells)
        classes = classes.reshape(len(cells), count, classes.shape[1] // count)[candidate, anchor_indices]
        best = classes.argmax(axis=1)
        boxes = level.dequantize("box", outputs, cells).reshape(len(cells), count, 4)[candidate, anchor_indices]
        cell_anchors = anchors[anchor_indices]
        cell_centers = (level.cell_positions(cells)[:, ::-1] + 0.5) / level.grid_size[::-1]
        centers = boxes[:, :2] / _CENTER_SCALE * cell_anchors + cell_centers
        sizes = np.exp((boxes[:, 2:] / _SIZE_SCALE).clip(max=_MAX_LOG_SIZE)) * cell_anchors
        scores = sigmoid(np.take_along_axis(classes, best[:, None], axis=1)[:, 0])
        return BoxCandidates.from_centers(centers[:, ::-1], sizes[:, ::-1], scores, best)
