"""Whether a part is in a zone of the picture, as a light barrier says it: by what differs from the empty scene.

The empty scene is the median of the first second, and follows slowly while the zone is empty. Each frame is 160 x 90
gray cells, as bright as the empty scene (by the ratio of the medians, so a camera that adapts its exposure does not
look like a part). The scene does not follow while something is in the zone: a belt that stops for an hour with a part
in front of the camera goes on as if nothing had been. If the light changes for good, the zone stays covered, which is
told as a fault; the next start learns anew.
"""

from __future__ import annotations

from math import inf
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..camera.capture.privacy_mask import rasterize_zones
from ..config.trigger_table import PresenceSettings

SIZE = (160, 90)
_LEAST_FRAMES, _MOST_FRAMES = 3, 100
_FOLLOW = 0.02  # part of a frame that goes into the empty scene
_LONGEST_PAUSE = 2.0  # seconds without a frame after which nobody knows what came
_GAIN = (0.25, 4.0)


class ZonePresence:
    """Looks at the frames of one camera, in order."""

    def __init__(self, settings: PresenceSettings) -> None:
        self.settings = settings
        self.mask = rasterize_zones([settings.polygon], SIZE[1], SIZE[0])
        self.frames: list[NDArray[np.float32]] = []
        self.first: float | None = None
        self.empty: Any = None
        self.previous = self.entered = -inf
        self.covered_since = inf
        """Moment since which something is in the zone; infinite: it is empty."""

    @property
    def is_learned(self) -> bool:
        """Whether the empty scene is known."""
        return self.empty is not None

    def see(self, pixels: NDArray[Any], moment: float) -> bool:
        """True if a part has entered the zone with this frame.

        Args:
            pixels: H x W x 3, uint8, blue-green-red
            moment: of the frame, seconds of a clock that never steps
        """
        small = cv2.cvtColor(cv2.resize(pixels, SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        gray = cv2.GaussianBlur(small, (0, 0), 1).astype(np.float32)
        paused = moment - self.previous > _LONGEST_PAUSE or moment < self.previous
        self.previous = moment
        if self.empty is None:
            self._learn(gray, moment)
            return False
        gain = float(np.clip((np.median(gray) + 1) / (np.median(self.empty) + 1), *_GAIN))
        share = float(np.mean(np.abs(gray / gain - self.empty)[self.mask] >= self.settings.level))
        if share < self.settings.share / 2:
            self.covered_since = inf
            self.empty += _FOLLOW * (gray / gain - self.empty)
            return False
        if share < self.settings.share or self.covered_since < inf:
            return False
        self.covered_since = moment
        if paused or moment - self.entered < self.settings.gap:
            return False
        self.entered = moment
        return True

    def _learn(self, gray: NDArray[np.float32], moment: float) -> None:
        if self.first is None or moment < self.first:
            self.first, self.frames = moment, []
        self.frames = [*self.frames, gray][-_MOST_FRAMES:]
        if len(self.frames) >= _LEAST_FRAMES and moment - self.first >= self.settings.learn:
            self.empty, self.frames = np.median(self.frames, axis=0), []
