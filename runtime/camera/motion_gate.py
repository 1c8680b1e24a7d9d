"""Nothing is inferred where nothing moves.

Each picture is made small and grey, 160 x 90, and compared with the one that was inferred last: that one is the
background. Where too few cells differ by enough, the picture is taken to show the same, and what was seen in that one
holds: rules are given it again, with the new frame. So a picture that is skipped is never an empty one, no event ends
because of it, and an event that lasts is told of on time.

The background is never mixed from several pictures: what creeps adds up until it counts, and what stands still was
inferred where it stands. What is too small or too faint for the gate is seen at the next check, which comes `seconds`
after the last by the frames' own time; from then on it holds like everything, so a rule that asks for two frames has
them at the next one.

It is imprecise where the picture moves by itself: leaves, rain, a clock in the picture, a sensor's noise at night. All
of these open the gate, and cost what was to be saved; a privacy zone over a clock closes it again. Threshold and number
of cells were chosen on three recorded scenes (docs/privacy.md has what they save there).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from ..bundle.manifest import Manifest
from ..config.camera_tables import Gate as Settings
from ..errors import ConfigProblem
from ..inference.prediction import Prediction
from .frame import Frame

Seen = tuple[Prediction, ...] | None
SIZE = (160, 90)
_REMEMBERED = 1000  # frames


class Gate:
    """Of one camera, whose frames it is shown in order."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inferences = self.skipped = 0
        self.background: Any = None
        self.checked = float("-inf")
        """`Frame.taken` of the one that was inferred last."""
        self.seen: Seen = None
        self.busy: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        """Of the last frames: when each was done with, and how many seconds inference took."""

    def look(self, frame: Frame, infer: Callable[[], Seen]) -> Seen:
        """What is in the frame, by `infer`, or by what it said last where nothing has moved since."""
        began = time.monotonic()
        if self.settings.seconds and self._still(frame):
            self.skipped += 1
            self.busy.append((began, 0.0))
            return self.seen
        began = time.monotonic()
        self.seen = infer()
        self.inferences += 1
        now = time.monotonic()
        self.busy.append((now, now - began))
        return self.seen

    def duty(self) -> float | None:
        """The share of the time that went into inference, over the last frames; None before there are two."""
        busy = list(self.busy)  # another thread may ask
        if len(busy) < 2 or busy[-1][0] <= busy[0][0]:
            return None
        return min(1.0, sum(seconds for _, seconds in busy[1:]) / (busy[-1][0] - busy[0][0]))

    def facts(self) -> dict[str, Any]:
        """What is told of it."""
        return {"inferences": self.inferences, "skipped": self.skipped, "duty": self.duty()}

    def _still(self, frame: Frame) -> bool:
        small = cv2.resize(cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2GRAY), SIZE, interpolation=cv2.INTER_AREA)
        grey = cv2.GaussianBlur(small, (0, 0), 1)
        since = frame.taken - self.checked
        if self.background is not None and 0 <= since < self.settings.seconds:
            moved = cv2.absdiff(grey, self.background) > self.settings.threshold
            if np.count_nonzero(moved) < self.settings.cells:
                return True
        self.background, self.checked = grey, frame.taken
        return False


def suits(settings: Settings, manifest: Manifest) -> None:
    """Returns where the bundle can do with some frames alone.

    Raises:
        ConfigProblem: it cannot.
    """
    if settings.seconds and manifest.motion is not None:
        hint = "take gate.seconds out: the bundle looks at motion itself"
        raise ConfigProblem(f"gate.seconds: {manifest.name} compares each frame with those before it", hint=hint)
