"""A model of behaviour sees motion: three frames become one picture, and the outputs of a while become one answer.

    before   now less earlier, earlier less earliest, now less earliest: three grey differences, `spacing` seconds
             apart, are the three channels of a picture. 127 is no change
    after    the scores of the last `window` seconds are averaged, so that a single frame is no alarm; of anomaly maps
             each cell's highest counts, so that the box holds all that was strange in that while

To the model that is an image like any other: it stays a network of convolutions that looks at one tensor, in the same
integers on both back ends. A difference shows where something moves, how fast, and, by the phase between two of them,
which way; and of what moves its outline and texture against the background, but nothing of a background that
stands still. That is why such a model can be taken to another camera, and why someone who stands still is not seen.

By `frame.taken`, never by the clock. A frame is compared with the remembered one that is nearest to the time that is
meant, and with none that is more than half of the spacing off: where pictures come too slowly there is no answer, and
that is told once. After a jump back in time, or a gap, everything is forgotten. It is imprecise where light flickers
or a camera adjusts its exposure, which moves all grey levels at once and looks like motion all over; the score of an
anomaly, its highest cell less half of the mean, feels that half as much.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Input, Motion

log = logging.getLogger(__name__)

ZERO = 127  # no change: what the backbone takes for zero
PATIENCE = 100  # frames without a picture until it is told


class Differences:
    """What one camera has shown lately; without `motion` nothing is remembered, and a frame is its own picture."""

    def __init__(self, spec: Input, motion: Motion | None) -> None:
        self.motion = motion
        self.size = (spec.width, spec.height)
        self.frames: deque[tuple[float, NDArray[Any]]] = deque()
        self.blind = 0

    def __call__(self, taken: float, pixels: NDArray[Any]) -> NDArray[Any] | None:
        """H x W x 3, uint8 -> the picture for the preprocessing, of the same kind; None: nothing to compare with."""
        if self.motion is None:
            return pixels
        self.remember(taken, pixels)
        picture = self.picture()
        self.blind = self.blind + 1 if picture is None else 0
        if self.blind == PATIENCE:
            log.warning("no frames %.2g s apart, which the model compares: it sees nothing", self.motion.spacing)
        return picture

    def remember(self, taken: float, pixels: NDArray[Any]) -> None:
        """Takes a frame into the memory."""
        assert self.motion is not None
        if self.frames and taken <= self.frames[-1][0]:
            self.frames.clear()
        while self.frames and taken - self.frames[0][0] > 2.5 * self.motion.spacing:
            self.frames.popleft()
        grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        self.frames.append((taken, cv2.resize(grey, self.size, interpolation=cv2.INTER_AREA).astype(np.int16)))

    def picture(self) -> NDArray[Any] | None:
        """Of the newest frame; height x width x 3, uint8, the first difference last, as red is."""
        earlier, earliest = self._ago(1), self._ago(2)
        if self.motion is None or earlier is None or earliest is None:
            return None
        now = self.frames[-1][1]
        differences = np.stack([now - earliest, earlier - earliest, now - earlier], axis=-1)
        return np.clip(np.rint(ZERO + self.motion.gain * differences), 0, 255).astype(np.uint8)

    def _ago(self, steps: int) -> NDArray[Any] | None:
        """The frame that lies so many spacings before the newest."""
        if self.motion is None:
            return None
        wanted = self.frames[-1][0] - steps * self.motion.spacing
        taken, grey = min(self.frames, key=lambda frame: abs(frame[0] - wanted))
        return grey if abs(taken - wanted) <= self.motion.spacing / 2 + 1e-6 else None


class Window:
    """The answers of a while; without `motion` each stands alone."""

    def __init__(self, motion: Motion | None) -> None:
        self.seconds = None if motion is None else motion.window
        self.answers: deque[tuple[float, dict[str, NDArray[Any]]]] = deque()
        self.since = 0.0

    def __call__(self, taken: float, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
        """The outputs of the last `window` seconds as one, as floats; None: there have not been so many yet."""
        if self.seconds is None:
            return outputs
        if not self.answers or not 0 < taken - self.answers[-1][0] <= self.seconds:
            self.answers.clear()
            self.since = taken
        while self.answers and taken - self.answers[0][0] >= self.seconds - 1e-6:
            self.answers.popleft()
        self.answers.append((taken, {name: each.copy() for name, each in outputs.items()}))
        if taken - self.since < self.seconds - 1e-6:
            return None
        return together([each for _, each in self.answers])


def together(outputs: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Outputs of several pictures as one: of maps each cell's highest, of the others the mean."""
    stacks = {name: np.stack([each[name] for each in outputs]).astype(np.float64) for name in outputs[0]}
    return {name: each.max(axis=0) if name == "map" else each.mean(axis=0) for name, each in stacks.items()}


def answers(
    motion: Motion | None, outputs: Sequence[tuple[float, dict[str, NDArray[Any]]]]
) -> list[dict[str, NDArray[Any]]]:
    """What a recording comes to: the outputs of each full window, or of all of it where it is shorter than one.

    Args:
        motion: as the manifest has it
        outputs: of each picture, with the second that it was taken at, in order
    """
    window = Window(motion)
    found = [window(taken, each) for taken, each in outputs]
    return [each for each in found if each is not None] or [together([each for _, each in outputs])]
