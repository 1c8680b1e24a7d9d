"""Heads: they turn output tensors into predictions."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...errors import BundleProblem
from ...plugin_tables import load_plugin
from ..prediction import Prediction

HEADS = {
    "anomaly": ".anomaly:AnomalyHead",
    "behaviour": ".behaviour:load_behaviour_head",
    "classify": ".classify:ClassifyHead",
    "detect": ".detect:DetectHead",
}
BOX_DECODERS = {
    "fastestdet": ".fastestdet:FastestDetDecoder",
    "grid": ".grid:GridDecoder",
    "nanodet": ".grid:GridDecoder",
    "ssd": ".ssd:SsdDecoder",
    "yolov8": ".grid:GridDecoder",
    "yolox": ".grid:GridDecoder",
}
"""Decoders of object detectors, by the manifest's `boxes.family`; `DetectHead` loads them."""


class Head(Protocol):
    """Reads the outputs of a model."""

    def __call__(
        self, outputs: dict[str, NDArray[Any]], frame: tuple[int, int] | None = None
    ) -> tuple[Prediction, ...]:
        """The predictions for one frame.

        Args:
            outputs: each output by name, uint8, in the manifest's shape
            frame: height and width of the frame in pixels, to map boxes back from a letterboxed input; None: the frame
                has the shape of the input
        """


def load_head(manifest: Manifest, min_score: float | None = None) -> Head:
    """The head for the manifest's task.

    Args:
        manifest: of the bundle
        min_score: least score of a detection, for object detectors; None: the manifest's threshold

    Raises:
        Problem: there is none.
    """
    if manifest.task == "embed":
        hint = "vedette verify and vedette show accept it; for events, build a bundle of task anomaly or classify"
        raise BundleProblem(f"{manifest.name} outputs embeddings, which no rule can evaluate", hint=hint)
    head_class = load_plugin(__package__, HEADS, manifest.task, "task")
    head: Head = head_class(manifest, min_score) if manifest.boxes is not None else head_class(manifest)
    return head
