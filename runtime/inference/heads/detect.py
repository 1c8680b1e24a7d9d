"""Boxes around objects of several classes.

The network ends with plain numbers for each cell of its grids. What a family of detectors makes of them, which is
exponentials and sigmoids, is done here in real numbers, and only for cells that can reach the threshold: as integers,
boxes and scores would have to share their steps, and the boxes would have none left. Of boxes of one class that overlap
only the surest stays (non-maximum suppression, OpenCV's).

At most MOST boxes are told of, and at most CANDIDATES are compared with each other: on a frame with more, the least
sure are not seen. With the threshold of everyday use that does not happen; it bounds the time of a bad one.
"""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...plugins import choose
from ..prediction import Box, Prediction
from ..preprocess import shares
from .feature_levels import Candidates

MOST = 100
CANDIDATES = 1000


class Family(Protocol):
    """How one family of detectors is read; it is made from the manifest."""

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> Candidates:
        """Every box whose score is at least `threshold`."""


class Detect:
    """Outputs by role and level -> a prediction for each object, the surest first, each with its box.

    Args:
        manifest: of a bundle whose task is `detect`
        threshold: least score; None: the manifest's
    """

    def __init__(self, manifest: Manifest, threshold: float | None = None) -> None:
        from . import FAMILIES

        assert manifest.boxes is not None
        self.family: Family = choose(__package__, FAMILIES, manifest.boxes.family, "boxes.family")(manifest)
        self.labels, self.input, self.iou = manifest.labels, manifest.input, manifest.boxes.iou
        self.threshold = manifest.threshold if threshold is None else threshold

    def __call__(
        self, outputs: dict[str, NDArray[Any]], frame: tuple[int, int] | None = None
    ) -> tuple[Prediction, ...]:
        found = self.family(outputs, self.threshold)
        if not len(found.scores):
            return ()
        if len(found.scores) > CANDIDATES:
            best = np.argpartition(-found.scores, CANDIDATES)[:CANDIDATES]
            found = Candidates(*(each[best] for each in found))
        across, down = shares(self.input, frame or (self.input.height, self.input.width))
        edges = (found.edges / np.array([across, down, across, down])).clip(0, 1).astype(np.float64)
        rectangles = np.hstack([edges[:, :2], edges[:, 2:] - edges[:, :2]])
        scores = found.scores.astype(np.float32)
        suppress: Any = cv2.dnn.NMSBoxesBatched  # it takes arrays, whatever its types say
        kept = suppress(rectangles, scores, found.classes.astype(np.int32), 0.0, self.iou)
        kept = [int(each) for each in np.ravel(kept) if rectangles[each, 2:].min() > 0]
        kept = sorted(kept, key=lambda each: -scores[each])[:MOST]
        return tuple(
            Prediction(
                self.labels[int(found.classes[each])],
                round(float(scores[each]), 4),
                Box(*(round(float(edge), 5) for edge in edges[each])),
            )
            for each in kept
        )
