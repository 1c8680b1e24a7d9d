"""From pixels to predictions, as one step.

difference image    behaviour models alone: the change between three frames
preprocess          resized and quantized in one affine step
back end            the int8 model
temporal window     behaviour models alone: the outputs of the last seconds together
head                output tensors become predictions
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..bundle.manifest import Manifest
from .backends import Backend
from .frame_differencing import FrameDifferencer, OutputWindow
from .heads import Head
from .prediction import Prediction
from .preprocess import Preprocess


class InferencePipeline:
    """Predicts frame by frame, in the order in which the frames were taken."""

    def __init__(self, manifest: Manifest, backend: Backend, head: Head) -> None:
        self.differencer = FrameDifferencer(manifest.input, manifest.motion)
        self.preprocess = Preprocess(manifest.input)
        self.backend = backend
        self.window = OutputWindow(manifest.motion)
        self.head = head

    def predict(self, taken: float, pixels: NDArray[Any]) -> tuple[Prediction, ...] | None:
        """The predictions for one frame; None while a behaviour model has seen too few frames.

        Args:
            taken: seconds since 1970, UTC
            pixels: H x W x 3, uint8, blue-green-red
        """
        image = self.differencer(taken, pixels)
        if image is None:
            return None
        outputs = self.window(taken, self.backend.run(self.preprocess(image)))
        return None if outputs is None else self.head(outputs, pixels.shape[:2])
