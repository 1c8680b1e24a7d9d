"""The motion gate: skips inference while nothing moves.

Each frame is scaled to 160 x 90 gray cells and compared with the frame that was inferred last. If too few cells differ
by enough, the gate stays closed, and the last predictions hold: rules get them again, with the new frame. So a skipped
frame is not an empty one; it ends no event, and updates of a lasting event stay on time.

The reference is one frame, never a mixture: slow movement adds up until it counts, and a static object was inferred
where it stands. An object that is too small or too faint for the gate is found at the next forced inference, `seconds`
after the last one by the frames' moments. Its predictions then hold, so a rule that needs two frames has them at the
next frame.

The gate is imprecise if the frame changes by itself: leaves, rain, a clock in view, sensor noise at night. These open
the gate and cost what it should save; a privacy zone over the clock helps. Threshold and number of cells were chosen on
three recorded scenes (docs/privacy.md lists the savings).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from ..bundle.manifest import Manifest
from ..config.camera_tables import MotionGateSettings
from ..errors import ConfigProblem
from ..inference.prediction import Prediction
from .frame import Frame

SIZE = (160, 90)
_HISTORY = 1000  # frames in the history


class MotionGate:
    """The motion gate of one camera; it takes the frames in order."""

    def __init__(self, settings: MotionGateSettings) -> None:
        self.settings = settings
        self.inferences = self.skipped = 0
        self.rejected = ""
        self.reference: Any = None
        self.reference_moment = float("-inf")
        """`Frame.moment` of the frame that was inferred last."""
        self.opened = 0.0
        self.predictions: tuple[Prediction, ...] | None = None
        """Those of the last inference; None: too few frames for a behaviour model."""
        self.history: deque[tuple[float, float]] = deque(maxlen=_HISTORY)
        """For the last frames: time of completion, and seconds of inference."""

    def pace(self, frames: Iterator[Frame | None], _stop: threading.Event) -> Iterator[Frame | None]:
        """The frames of the camera, as they come."""
        return frames

    def is_open(self, frame: Frame) -> bool:
        """True if the frame has to be inferred; otherwise `predictions` of the last inference still hold.

        After True, `remember` takes what inference gave.
        """
        started = time.monotonic()
        if self.settings.seconds and self._is_static(frame):
            self.skipped += 1
            self.history.append((started, 0.0))
            return False
        self.opened = time.monotonic()
        return True

    def remember(self, predictions: tuple[Prediction, ...] | None) -> None:
        """Keeps the predictions of the frame that opened the gate, and counts the time that inference took."""
        self.predictions = predictions
        self.inferences += 1
        now = time.monotonic()
        self.history.append((now, now - self.opened))

    def duty(self) -> float | None:
        """Fraction of the time spent in inference, over the last frames; None before the second frame."""
        busy = list(self.history)  # another thread may call this
        if len(busy) < 2 or busy[-1][0] <= busy[0][0]:
            return None
        return min(1.0, sum(seconds for _, seconds in busy[1:]) / (busy[-1][0] - busy[0][0]))

    def faults(self) -> dict[str, bool]:
        """A gate has no faults."""
        return {}

    def close(self) -> None:
        """Does nothing."""

    def figures(self) -> dict[str, Any]:
        """Its part of the status report."""
        return {"inferences": self.inferences, "skipped": self.skipped, "duty": self.duty()}

    def _is_static(self, frame: Frame) -> bool:
        small = cv2.resize(cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2GRAY), SIZE, interpolation=cv2.INTER_AREA)
        gray = cv2.GaussianBlur(small, (0, 0), 1)
        since = frame.moment - self.reference_moment
        if self.reference is not None and 0 <= since < self.settings.seconds:
            moved = cv2.absdiff(gray, self.reference) > self.settings.threshold
            if np.count_nonzero(moved) < self.settings.cells:
                return True
        self.reference, self.reference_moment = gray, frame.moment
        return False


def check_bundle_allows_gate(settings: MotionGateSettings, manifest: Manifest) -> None:
    """Checks that the bundle's model works without some of the frames.

    Raises:
        ConfigProblem: it compares consecutive frames.
    """
    if settings.seconds and manifest.motion is not None:
        hint = "take gate.seconds out: the bundle looks at motion itself"
        raise ConfigProblem(f"gate.seconds: {manifest.name} compares each frame with those before it", hint=hint)
