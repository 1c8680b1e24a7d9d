"""Camera health: whether a camera still shows what it should.

Once a second a frame is scaled down and measured: brightness, sharpness, whether it equals the frame of a second ago,
and how well its outlines correlate with those of the last minutes. A fault must last before it is reported, and be
absent for a while before it counts as recovered; so a lorry that passes close by is no fault.

    stalled    no frame comes
    frozen     all checked frames are bit by bit the same: a sensor has noise, so equal frames are repeated ones. If a
               camera compresses so strongly that a static scene repeats, set a longer time, or 0
    dark       the lightest spots are dark; a night scene with a lamp is not
    bright     the darkest spots are bright
    blurred    the outlines are soft: the variance of the Laplacian is far below its usual level
    moved      the outlines have moved: their correlation with the mean of the last minutes is far below its usual level

The last two compare with earlier frames of the same camera. They need half a minute of good frames, and stay silent if
every frame shows something else, such as parts that fill it. A change that lasts for ten minutes becomes the new
normal. The thresholds were chosen by eye, on synthetic and recorded scenes.
"""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any

import cv2
import msgspec
import numpy as np

from ..config.camera_tables import HealthSettings
from .frame import Frame

CHECK_SECONDS = 1.0
DARK_LEVEL, BRIGHT_LEVEL = 45, 210  # of 255: for the lightest and the darkest cells of the small frame
BLURRED_FRACTION, MOVED_FRACTION = 0.3, 0.5  # of a low percentile of the usual values
_HISTORY, _MIN_HISTORY = 300, 30  # checks
_NEW_NORMAL_SECONDS = 600.0
_SIZE = (640, 480)  # pixels that are checked; then 2 x 2 become one, which halves sensor noise
_CELLS = (64, 36)


class ImageStatistics(msgspec.Struct, frozen=True, eq=False):
    """The measurements of one frame."""

    digest: int
    darkest: float
    lightest: float
    sharpness: float
    outlines: Any
    """36 x 64: local contrast, normalized to length one."""

    @classmethod
    def measure(cls, pixels: Any) -> ImageStatistics:
        height, width = pixels.shape[:2]
        if (step := math.ceil(min(height / _SIZE[1], width / _SIZE[0]))) > 1:
            pixels = cv2.resize(pixels, (width // step, height // step), interpolation=cv2.INTER_NEAREST)
        full_gray = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        half = max(1, full_gray.shape[1] // 2), max(1, full_gray.shape[0] // 2)  # a strip may have one row
        gray = cv2.resize(full_gray, half, interpolation=cv2.INTER_AREA)
        _, deviation = cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))
        cells = cv2.resize(gray, _CELLS, interpolation=cv2.INTER_AREA).astype(np.float32)
        darkest, lightest = np.percentile(cells, (1, 99))
        relief = cells - cv2.blur(cells, (9, 9))
        relief /= np.sqrt(cv2.blur(relief * relief, (9, 9))) + 4
        outlines = relief / (np.linalg.norm(relief) or 1)
        return cls(zlib.crc32(full_gray.tobytes()), darkest, lightest, float(deviation[0, 0]) ** 2, outlines)


class FaultCondition:
    """A fault, debounced in both directions."""

    def __init__(self, name: str, min_seconds: float, recovery_seconds: float) -> None:
        self.name, self.min_seconds, self.recovery_seconds = name, min_seconds, recovery_seconds
        self.is_active = False
        self.changing_since: float | None = None
        """Since when the measurement differs from `is_active`."""
        self.started = 0.0

    def update(self, is_bad: bool, now: float, since: float) -> bool:
        """True if the fault starts or ends now; `since`: the latest time at which the measurement changed."""
        if is_bad == self.is_active:
            self.changing_since = None
            return False
        if self.changing_since is None:
            self.changing_since = since
        if now - self.changing_since < (self.recovery_seconds if self.is_active else self.min_seconds):
            return False
        self.is_active, self.started, self.changing_since = (
            is_bad,
            self.changing_since if is_bad else self.started,
            None,
        )
        return True


class CameraHealth:
    """The health checks of one camera; `now` is a monotonic clock, in seconds."""

    def __init__(self, settings: HealthSettings) -> None:
        self.conditions = {
            name: FaultCondition(name, lasts, settings.recovered)
            for name in ("stalled", "frozen", "dark", "bright", "blurred", "moved")
            if (lasts := getattr(settings, name))
        }
        self.stalled_seconds = settings.stalled
        self.last_frame: float | None = None
        """Time of the last frame; before the first one, time of the start."""
        self.last_check = float("-inf")
        self.statistics: ImageStatistics | None = None
        self.mean_outlines: Any = None
        """Mean outlines of the last minutes."""
        self.sharpness: deque[float] = deque(maxlen=_HISTORY)
        self.similarity: deque[float] = deque(maxlen=_HISTORY)

    def update(
        self, frame: Frame | None, now: float, reason: str = "", waits: bool = False
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The system events of what changed: kind and facts.

        Args:
            frame: the newest frame; None if none came
            now: monotonic time, seconds
            reason: why no frame comes, if that is known
            waits: no frame comes because the camera waits for its trigger
        """
        if frame is not None or self.last_frame is None or waits:
            self.last_frame = now
        is_stalled = now - self.last_frame >= self.stalled_seconds
        for kind, facts in self._update_condition("stalled", is_stalled, now, self.last_frame if is_stalled else now):
            yield kind, facts | ({"reason": reason} if is_stalled and reason else {})
        if frame is None or now - self.last_check < CHECK_SECONDS:
            return
        self.last_check = now
        statistics, before = ImageStatistics.measure(frame.pixels), self.statistics
        self.statistics = statistics
        for name, is_bad in self._find_faults(statistics, before).items():
            yield from self._update_condition(name, is_bad, now, now)
        self._learn(statistics, now)

    def active_faults(self) -> list[str]:
        """The current faults."""
        return [name for name, condition in self.conditions.items() if condition.is_active]

    def _update_condition(
        self, name: str, is_bad: bool, now: float, since: float
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        condition = self.conditions.get(name)
        if condition is None or not condition.update(is_bad, now, since):
            return
        if is_bad:
            yield name, {"seconds": round(now - condition.started, 1)}
        else:
            yield "recovered", {"from": name, "seconds": round(now - condition.started, 1)}

    def _find_faults(self, statistics: ImageStatistics, before: ImageStatistics | None) -> dict[str, bool]:
        dark, bright = statistics.lightest < DARK_LEVEL, statistics.darkest > BRIGHT_LEVEL
        is_extreme = dark or bright
        is_blurred = not is_extreme and statistics.sharpness < BLURRED_FRACTION * _low_percentile(self.sharpness)
        similarity = self._outline_similarity(statistics)
        return {
            "frozen": before is not None and statistics.digest == before.digest,
            "dark": dark,
            "bright": bright,
            "blurred": is_blurred,
            "moved": not is_extreme
            and not is_blurred
            and similarity < MOVED_FRACTION * _low_percentile(self.similarity),
        }

    def _outline_similarity(self, statistics: ImageStatistics) -> float:
        if self.mean_outlines is None:
            return 1.0
        return float((statistics.outlines * self.mean_outlines).sum() / (np.linalg.norm(self.mean_outlines) or 1))

    def _learn(self, statistics: ImageStatistics, now: float) -> None:
        """Adapts the usual values to good frames, and to a fault that lasts for long."""
        suspects = [
            each
            for name, each in self.conditions.items()
            if name != "stalled" and (each.is_active or each.changing_since is not None)
        ]
        if any(
            now - each.started > _NEW_NORMAL_SECONDS
            for each in suspects
            if each.is_active and each.name in ("blurred", "moved")
        ):
            self.sharpness.clear()
            self.similarity.clear()
            self.mean_outlines = None
        elif suspects:
            return
        self.similarity.append(self._outline_similarity(statistics))
        self.sharpness.append(statistics.sharpness)
        self.mean_outlines = (
            statistics.outlines.copy()
            if self.mean_outlines is None
            else 0.98 * self.mean_outlines + 0.02 * statistics.outlines
        )


def _low_percentile(values: deque[float]) -> float:
    """A low percentile of the usual values; 0 while they are unknown."""
    return float(np.percentile(values, 5)) if len(values) >= _MIN_HISTORY else 0.0
