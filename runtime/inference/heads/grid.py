"""The decoder of detectors with a box in each cell of their grids: YOLOX, NanoDet, PicoDet, RTMDet and similar ones.

`GridDecoding` (runtime/bundle/box_decoding.py) says how a cell's numbers become a box. The presets follow the published
code of their families:

    yolox      `decode_outputs` of Megvii-BaseDetection/YOLOX (Apache-2.0); Ge et al., 2021
    nanodet    `nanodet/model/head/gfl_head.py` of RangiLyu/nanodet (Apache-2.0), releases before NanoDet-Plus
    yolov8     the last layer of that family: 16 bins for each side. Its published weights are under AGPL-3.0, which
               binds everyone who puts them into a product; Vedette contains none and recommends none. The decoder is
               for networks of this shape with another licence: declare it as model.licence
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.box_decoding import GridDecoding
from ...bundle.manifest import Manifest
from .feature_levels import (
    BoxCandidates,
    CellIndices,
    FeatureLevel,
    decode_box_distances,
    group_by_level,
    logit,
    sigmoid,
)

PRESETS = {
    "yolox": GridDecoding("center", point=0.0, objectness=True),
    "nanodet": GridDecoding("distribution"),
    "yolov8": GridDecoding("distribution"),
}
_MAX_LOG_SIZE = 8.0  # a larger exponent would give a box wider than any frame


class GridDecoder:
    """Decodes `box0`, `class0` and, if the detector has it, `objectness0`, then `box1`, …

    Args:
        manifest: of a bundle whose detector family is a preset, or `grid`
    """

    def __init__(self, manifest: Manifest) -> None:
        boxes, spec = manifest.boxes, manifest.input
        assert boxes is not None
        self.decoding = boxes.grid or PRESETS[boxes.family]
        roles = ("box", "objectness", "class") if self.decoding.objectness else ("box", "class")
        self.levels = group_by_level(manifest, roles)
        self.size = np.array([spec.width, spec.height], np.float32)
        self.cells = [level.grid_size for level in self.levels]
        """Of each level: columns and rows in the size of the input, which may be fractions."""
        if self.decoding.strides:
            self.cells = [self.size / stride for stride in self.decoding.strides]

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> BoxCandidates:
        decode = self._decode_best_classes if self.decoding.objectness else self._decode_all_classes
        return BoxCandidates.concatenate([decode(level, outputs, threshold) for level in self.levels])

    def _decode_best_classes(
        self, level: FeatureLevel, outputs: dict[str, NDArray[Any]], threshold: float
    ) -> BoxCandidates:
        """One box of each cell. No score exceeds its objectness, so cells with a low objectness are skipped first."""
        cells = np.flatnonzero(level.cells_above("objectness", outputs, logit(threshold))[0])
        classes = level.dequantize("class", outputs, cells)
        best = classes.argmax(axis=1)
        likeliest = sigmoid(np.take_along_axis(classes, best[:, None], axis=1)[:, 0])
        scores = likeliest * sigmoid(level.dequantize("objectness", outputs, cells)[:, 0])
        above = scores >= threshold
        return BoxCandidates(self._decode_edges(level, outputs, cells[above]), scores[above], best[above])

    def _decode_all_classes(
        self, level: FeatureLevel, outputs: dict[str, NDArray[Any]], threshold: float
    ) -> BoxCandidates:
        """A box for each class of a cell with a score of at least `threshold`."""
        classes, cells = np.nonzero(level.cells_above("class", outputs, logit(threshold)))
        unique_cells, positions = np.unique(cells, return_inverse=True)
        scores = sigmoid(level.dequantize("class", outputs, unique_cells)[positions, classes])
        return BoxCandidates(self._decode_edges(level, outputs, unique_cells)[positions], scores, classes)

    def _decode_edges(self, level: FeatureLevel, outputs: dict[str, NDArray[Any]], cells: CellIndices) -> NDArray[Any]:
        """The boxes of some cells, n x 4: left, top, right, bottom as fractions of the input."""
        values, points = level.dequantize("box", outputs, cells), level.cell_positions(cells) + self.decoding.point
        if self.decoding.box == "center":
            centers, sizes = values[:, :2] + points, np.exp(values[:, 2:].clip(max=_MAX_LOG_SIZE))
            near, far = sizes / 2, sizes / 2
        else:
            centers, distances = points, self._decode_distances(values)
            if self.decoding.unit == "pixels":
                distances /= np.tile(self.size / self.cells[level.number], 2)
            near, far = distances[:, :2], distances[:, 2:]
        return np.asarray(np.hstack([centers - near, centers + far]) / np.tile(self.cells[level.number], 2))

    def _decode_distances(self, values: NDArray[Any]) -> NDArray[Any]:
        if self.decoding.box == "distribution":
            return decode_box_distances(values)
        if self.decoding.activation == "exp":
            return np.asarray(np.exp(values.clip(max=_MAX_LOG_SIZE)))
        return np.asarray(values.clip(min=0)) if self.decoding.activation == "relu" else values
