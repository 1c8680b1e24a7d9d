"""The head of object detectors: boxes around objects of several classes.

The network ends with plain numbers for each cell of its grids. The exponentials and sigmoids of a detector family are
computed here in floats, and only for cells that can reach the threshold: as integers, boxes and scores would share one
scale, which would leave no steps for the boxes. Non-maximum suppression (OpenCV's) keeps the box with the highest score
among overlapping boxes of one class.

At most MAX_DETECTIONS boxes are returned, and at most MAX_CANDIDATES are compared with each other; on a frame with
more, those with the lowest scores are dropped. A usual threshold never reaches the limits; they bound the time with a
bad one.
"""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...plugin_tables import load_plugin
from ..prediction import Box, Prediction
from ..preprocess import content_fraction
from . import BOX_DECODERS
from .feature_levels import BoxCandidates

MAX_DETECTIONS = 100
MAX_CANDIDATES = 1000


class BoxDecoder(Protocol):
    """Decodes the outputs of one detector family; its constructor takes the manifest."""

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> BoxCandidates:
        """All boxes with a score of at least `threshold`."""


class DetectHead:
    """Outputs by role and level -> a prediction with a box for each object, by descending score.

    Args:
        manifest: of a bundle whose task is `detect`
        threshold: least score; None: the manifest's
    """

    def __init__(self, manifest: Manifest, threshold: float | None = None) -> None:
        assert manifest.boxes is not None
        self.decoder: BoxDecoder = load_plugin(__package__, BOX_DECODERS, manifest.boxes.family, "boxes.family")(
            manifest
        )
        self.labels, self.input_spec, self.nms_iou = manifest.labels, manifest.input, manifest.boxes.iou
        self.threshold = manifest.threshold if threshold is None else threshold

    def __call__(
        self, outputs: dict[str, NDArray[Any]], frame: tuple[int, int] | None = None
    ) -> tuple[Prediction, ...]:
        candidates = self.decoder(outputs, self.threshold)
        if not len(candidates.scores):
            return ()
        if len(candidates.scores) > MAX_CANDIDATES:
            best = np.argpartition(-candidates.scores, MAX_CANDIDATES)[:MAX_CANDIDATES]
            candidates = BoxCandidates(*(each[best] for each in candidates))
        fraction = content_fraction(self.input_spec, frame or (self.input_spec.height, self.input_spec.width))
        edges = (candidates.edges / np.tile(fraction, 2)).clip(0, 1).astype(np.float64)
        rectangles = np.hstack([edges[:, :2], edges[:, 2:] - edges[:, :2]])
        scores = candidates.scores.astype(np.float32)
        suppress: Any = cv2.dnn.NMSBoxesBatched  # it accepts arrays, although its type stubs do not
        kept = suppress(rectangles, scores, candidates.classes.astype(np.int32), 0.0, self.nms_iou)
        kept = [int(each) for each in np.ravel(kept) if rectangles[each, 2:].min() > 0]
        kept = sorted(kept, key=lambda each: -scores[each])[:MAX_DETECTIONS]
        return tuple(
            Prediction(
                self.labels[int(candidates.classes[each])],
                round(float(scores[each]), 4),
                Box(*(round(float(edge), 5) for edge in edges[each])),
            )
            for each in kept
        )
