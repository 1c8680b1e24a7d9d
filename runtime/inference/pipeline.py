"""From pixels to predictions, as one step.

difference image    behaviour models alone: the change between three frames
preprocess          aligned or cut if the bundle says so, resized and quantized in one affine step
back end            the int8 model
temporal window     behaviour models alone: the outputs of the last seconds together
head                output tensors become predictions
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.good_pictures import GoodPictures
from ..calibration.drift import DriftMonitor
from ..config.polygon import Polygon
from .backends import Backend
from .explanation import Explanation
from .frame_differencing import FrameDifferencer, OutputWindow
from .heads import Head
from .heads.anomaly import AnomalyHead
from .part_aligner import Placement
from .prediction import PART_NOT_FOUND, Prediction
from .preprocess import Preprocess
from .region_of_interest import RegionOfInterest

HEAT_MAP_SIDE = 64  # cells of the longer side of a heat map over the frame, where the model sees a part of it


class InferencePipeline:
    """Predicts frame by frame, in the order in which the frames were taken.

    A frame in which the part is not found is never good: it gets the label `error` and the highest score.

    Args:
        bundle: the bundle
        backend: runs its model
        head: reads the outputs
        region: the camera's region of interest, from which alone predictions come; empty: the whole frame

    Raises:
        BundleProblem: the reference image of the alignment is missing, or a picture of a good part cannot be read.
        ConfigProblem: the bundle cannot have this region.
    """

    def __init__(self, bundle: Bundle, backend: Backend, head: Head, region: Polygon = ()) -> None:
        manifest = bundle.manifest
        self.differencer = FrameDifferencer(manifest.input, manifest.motion)
        self.preprocess = Preprocess.from_bundle(bundle)
        self.highest_score = max((each.highest for each in manifest.outputs if each.name == "score"), default=1.0)
        self.backend = backend
        self.window = OutputWindow(manifest.motion)
        self.head = head
        self.recalibrated = manifest.recalibrated
        good_scores = manifest.good_scores
        self.region = RegionOfInterest(region, manifest, self.preprocess.inspector) if region else None
        self.drift: DriftMonitor | None = None
        if good_scores is not None and region == manifest.scored_region:  # in another one, scores are others
            self.drift = DriftMonitor(good_scores, manifest.threshold)
        self.good_pictures = GoodPictures(bundle)
        self.view: NDArray[Any] | None = None
        """What the model saw of the last frame, 1 x H x W x 3, uint8."""
        self.found: tuple[Prediction, ...] = ()
        """All that the model found in the last frame, outside the region of interest too."""
        self.top_score: float | None = None
        self.placement: Placement | None = None
        """Where what the model saw of the last frame lies in it; None: it saw nothing."""

    def predict(self, moment: float, pixels: NDArray[Any]) -> tuple[Prediction, ...] | None:
        """The predictions for one frame; None while a behaviour model has seen too few frames.

        Args:
            moment: time of the frame, seconds of a clock that never steps
            pixels: H x W x 3, uint8, blue-green-red
        """
        image = self.differencer(moment, pixels)
        if image is None:
            return None
        tensor, placement = self.preprocess.inspect(image)
        self.view, self.placement = tensor, placement if placement.found else None
        self.found = ()
        if not placement.found:
            return (Prediction(PART_NOT_FOUND, round(self.highest_score, 4)),)
        outputs = self.window(moment, self.backend.run(tensor))
        if outputs is None:
            return None
        if self.region is not None and isinstance(self.head, AnomalyHead):
            self.head.count_only(self.region.cells_at(placement))
        predictions = self.found = self._map_boxes(self.head(outputs, pixels.shape[:2]), placement)
        if self.region is not None and not isinstance(self.head, AnomalyHead):
            predictions = tuple(each for each in predictions if self.region.contains(each.box))
        if predictions:
            self.top_score = max(self.top_score or 0.0, *(each.score for each in predictions))
        if self.drift is not None:
            self.drift.add(moment, predictions[0].score)
        return predictions

    def _map_boxes(self, predictions: tuple[Prediction, ...], placement: Placement) -> tuple[Prediction, ...]:
        """Boxes in what the model sees become boxes in the frame."""
        if (inspector := self.preprocess.inspector) is None:
            return predictions
        return tuple(
            each if each.box is None else msgspec.structs.replace(each, box=inspector.to_frame(each.box, placement))
            for each in predictions
        )

    def heat_map(self, frame: tuple[int, int]) -> NDArray[np.float32] | None:
        """The anomaly map of the last frame, over the whole frame: h x w, float32, in the unit of the score, NaN where
        the model does not see the frame. None: the model has no map, or saw nothing.

        Args:
            frame: height and width of the frame
        """
        if self.placement is None or not isinstance(self.head, AnomalyHead):
            return None
        if (values := self.head.heat_map()) is None or (inspector := self.preprocess.inspector) is None:
            return values
        scale = HEAT_MAP_SIDE / max(frame)
        width, height = (max(1, round(scale * side)) for side in (frame[1], frame[0]))
        return inspector.map_to_frame(values, self.placement, (width, height))

    def explain(self, frame: tuple[int, int]) -> Explanation | None:
        """Why the last frame is unusual; None: the model has no map, or saw nothing.

        Args:
            frame: height and width of the frame
        """
        heat_map = self.heat_map(frame)
        if heat_map is None or self.view is None or not isinstance(self.head, AnomalyHead):
            return None
        seen, threshold = self.head.heat_map(), self.head.threshold
        unusual = np.zeros((1, 1), np.bool_) if seen is None else np.nan_to_num(seen, nan=threshold) >= threshold
        return Explanation(heat_map, threshold, self.good_pictures.find_nearest(self.view[0], unusual))

    def figures(self) -> dict[str, Any]:
        """The fields of the status report that come from the model and its scores."""
        return {
            "recalibration": None if self.recalibrated is None else self.recalibrated.statement,
            "drift": None if self.drift is None else self.drift.figures(),
            "top_score": self.top_score,
        }
