"""Tensors -> predictions."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...errors import BundleProblem
from ...plugins import choose
from ..prediction import Prediction

HEADS = {
    "anomaly": ".anomaly:Anomaly",
    "behaviour": ".behaviour:behaviour",
    "classify": ".classify:Classify",
    "detect": ".detect:Detect",
}
FAMILIES = {
    "fastestdet": ".fastestdet:FastestDet",
    "nanodet": ".nanodet:NanoDet",
    "ssd": ".ssd:Ssd",
    "yolov8": ".yolov8:YoloV8",
    "yolox": ".yolox:Yolox",
}
"""How the outputs of an object detector are read: `heads.detect` chooses by the manifest's `boxes.family`."""


class Head(Protocol):
    """Reads a model's outputs."""

    def __call__(
        self, outputs: dict[str, NDArray[Any]], frame: tuple[int, int] | None = None
    ) -> tuple[Prediction, ...]:
        """Each output by name, u8, in the manifest's shape -> what is seen.

        Args:
            outputs: of one frame
            frame: its height and width in pixels, by which boxes are put back where the frame was letterboxed; None:
                it has the input's shape
        """


def load(manifest: Manifest, least: float | None = None) -> Head:
    """The head for the manifest's task.

    Args:
        manifest: of the bundle
        least: score from which on an object is told of, where there may be several; None: the manifest's threshold

    Raises:
        Problem: there is none.
    """
    if manifest.task == "embed":
        hint = "vedette verify and vedette show take it; to watch, build a bundle of task anomaly or classify"
        raise BundleProblem(f"{manifest.name} makes vectors, in which no rule sees anything", hint=hint)
    part = choose(__package__, HEADS, manifest.task, "task")
    head: Head = part(manifest, least) if manifest.boxes is not None else part(manifest)
    return head
