"""Frame differencing and the temporal window: input and output of a behaviour model.

    before   three gray differences become the three channels of an image: now - earlier, earlier - earliest, now -
             earliest, the frames `spacing` seconds apart. 127 means no change
    after    the outputs of the last `window` seconds are averaged, so that a single frame raises no alarm; of anomaly
             maps the maximum of each cell is taken, so that the box covers all anomalies of that time

For the model, the difference image is an image like any other. It stays a convolutional network with one input tensor,
in the same integers on both back ends. A difference shows where something moves and how fast; the phase between two
differences shows the direction. Outline and texture of a moving object are visible against the background; a static
background is not. That is why such a model can move to another camera, and why a person who stands still is invisible
to it.

Time is `Frame.moment`, never the wall clock. A frame is compared with the stored frame nearest to the wanted time, if
it is at most half of the spacing away. If frames come too slowly there is no output, which is logged once. A jump back
in time, or a gap, clears the memory. The method is imprecise with flickering light and automatic exposure, which change
all gray levels at once and look like motion everywhere; the score of an anomaly model, its maximum minus half of its
mean, is affected half as much.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import ModelInput, MotionInput

log = logging.getLogger(__name__)

NO_CHANGE = 127  # gray level of no difference, which the backbone maps to zero
WARN_AFTER_FRAMES = 100  # frames without a difference image until it is logged


class FrameDifferencer:
    """Makes difference images from the last frames of one camera; without `motion` it returns each frame unchanged."""

    def __init__(self, spec: ModelInput, motion: MotionInput | None) -> None:
        self.motion = motion
        self.size = (spec.width, spec.height)
        self.frames: deque[tuple[float, NDArray[Any]]] = deque()
        self.frames_without_image = 0

    def __call__(self, moment: float, pixels: NDArray[Any]) -> NDArray[Any] | None:
        """H x W x 3, uint8 -> the image for the preprocessing, of the same kind; None: no frame to compare with."""
        if self.motion is None:
            return pixels
        self.add_frame(moment, pixels)
        image = self.difference_image()
        self.frames_without_image = self.frames_without_image + 1 if image is None else 0
        if self.frames_without_image == WARN_AFTER_FRAMES:
            log.warning("no frames %.2g s apart, as the model needs: no predictions", self.motion.spacing)
        return image

    def add_frame(self, moment: float, pixels: NDArray[Any]) -> None:
        """Stores a frame."""
        assert self.motion is not None
        if self.frames and moment <= self.frames[-1][0]:
            self.frames.clear()
        while self.frames and moment - self.frames[0][0] > 2.5 * self.motion.spacing:
            self.frames.popleft()
        grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        self.frames.append((moment, cv2.resize(grey, self.size, interpolation=cv2.INTER_AREA).astype(np.int16)))

    def difference_image(self) -> NDArray[Any] | None:
        """The difference image of the newest frame: height x width x 3, uint8, the first difference in the last
        channel, red.
        """
        earlier, earliest = self._frame_before(1), self._frame_before(2)
        if self.motion is None or earlier is None or earliest is None:
            return None
        now = self.frames[-1][1]
        differences = np.stack([now - earliest, earlier - earliest, now - earlier], axis=-1)
        return np.clip(np.rint(NO_CHANGE + self.motion.gain * differences), 0, 255).astype(np.uint8)

    def _frame_before(self, steps: int) -> NDArray[Any] | None:
        """The frame so many spacings before the newest; None: none is near enough."""
        if self.motion is None:
            return None
        wanted = self.frames[-1][0] - steps * self.motion.spacing
        moment, grey = min(self.frames, key=lambda frame: abs(frame[0] - wanted))
        return grey if abs(moment - wanted) <= self.motion.spacing / 2 + 1e-6 else None


class OutputWindow:
    """Aggregates the outputs of the last seconds; without `motion` it returns each output unchanged."""

    def __init__(self, motion: MotionInput | None) -> None:
        self.seconds = None if motion is None else motion.window
        self.outputs: deque[tuple[float, dict[str, NDArray[Any]]]] = deque()
        self.started = 0.0

    def __call__(self, moment: float, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
        """The outputs of the last `window` seconds as one, in floats; None: the window is not full yet."""
        if self.seconds is None:
            return outputs
        if not self.outputs or not 0 < moment - self.outputs[-1][0] <= self.seconds:
            self.outputs.clear()
            self.started = moment
        while self.outputs and moment - self.outputs[0][0] >= self.seconds - 1e-6:
            self.outputs.popleft()
        self.outputs.append((moment, {name: each.copy() for name, each in outputs.items()}))
        if moment - self.started < self.seconds - 1e-6:
            return None
        return max_maps_and_mean_scores([each for _, each in self.outputs])


def max_maps_and_mean_scores(outputs: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Outputs of several images as one: of maps the maximum of each cell, of all others the mean."""
    stacks = {name: np.stack([each[name] for each in outputs]).astype(np.float64) for name in outputs[0]}
    return {name: each.max(axis=0) if name == "map" else each.mean(axis=0) for name, each in stacks.items()}


def aggregate_windows(
    motion: MotionInput | None, outputs: Sequence[tuple[float, dict[str, NDArray[Any]]]]
) -> list[dict[str, NDArray[Any]]]:
    """The aggregated outputs of each full window of a recording, or of all of it if it is shorter than one window.

    Args:
        motion: the manifest's
        outputs: outputs of each image with its time in seconds, in order
    """
    window = OutputWindow(motion)
    aggregated = [window(moment, each) for moment, each in outputs]
    return [each for each in aggregated if each is not None] or [
        max_maps_and_mean_scores([each for _, each in outputs])
    ]
