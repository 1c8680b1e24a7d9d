"""Whether a camera still sees what it should.

Once a second a picture is made small and measured: how light it is, how sharp, whether it is the very one of the second
before, and how much its outlines are like those of the minutes before. Each fault has to last before it is told, and to
be gone for a while before it counts as mended; so a lorry that passes close by is none.

    stalled    no picture comes
    frozen     all that is looked at is the same to the bit: a sensor has noise, and a picture sent twice is the same.
               Where a camera compresses so strongly that a resting scene repeats, ask for longer, or 0
    dark       the lightest spots are dark; a night with a lamp in it is not
    bright     the darkest spots are light
    blurred    the outlines have gone soft: their variance (of the Laplacian) is far below what it was in good times
    moved      the outlines lie elsewhere: they correlate with the mean of the minutes before far less than is usual

The last two are relative to what this camera showed before, so they need half a minute of good pictures to begin with,
and where each picture shows something else, as of parts that fill it, they never speak. A picture that stays otherwise
for ten minutes is how it looks now. The thresholds are chosen by eye, on made-up and recorded scenes.
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

from ..config.camera_tables import Health as Settings
from .frame import Frame

LOOK_SECONDS = 1.0
DARK, BRIGHT = 45, 210  # of 255: the lightest and the darkest of the small picture's cells
SOFT, ALIKE = 0.3, 0.5  # of the low end of what is usual
_SEEN, _ENOUGH = 300, 30  # looks
_ADOPT_SECONDS = 600.0
_SIZE = (640, 480)  # about so many pixels are looked at; four make one, which halves a sensor's noise
_CELLS = (64, 36)


class View(msgspec.Struct, frozen=True, eq=False):
    """What one picture measures."""

    digest: int
    darkest: float
    lightest: float
    sharpness: float
    outlines: Any
    """36 x 64: where it is lighter or darker than around, of length one."""

    @classmethod
    def of(cls, pixels: Any) -> View:
        height, width = pixels.shape[:2]
        if (step := math.ceil(min(height / _SIZE[1], width / _SIZE[0]))) > 1:
            pixels = cv2.resize(pixels, (width // step, height // step), interpolation=cv2.INTER_NEAREST)
        some = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        grey = cv2.resize(some, (some.shape[1] // 2, some.shape[0] // 2), interpolation=cv2.INTER_AREA)
        _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
        cells = cv2.resize(grey, _CELLS, interpolation=cv2.INTER_AREA).astype(np.float32)
        darkest, lightest = np.percentile(cells, (1, 99))
        relief = cells - cv2.blur(cells, (9, 9))
        relief /= np.sqrt(cv2.blur(relief * relief, (9, 9))) + 4
        outlines = relief / (np.linalg.norm(relief) or 1)
        return cls(zlib.crc32(some.tobytes()), darkest, lightest, float(deviation[0, 0]) ** 2, outlines)


class Condition:
    """A fault that has to last, and to be gone for a while."""

    def __init__(self, name: str, lasts: float, recovers: float) -> None:
        self.name, self.lasts, self.recovers = name, lasts, recovers
        self.there = False
        self.since: float | None = None
        """Since when it is other than `there` says."""
        self.began = 0.0

    def see(self, bad: bool, now: float, since: float) -> bool:
        """Whether that changes it; `since` is when it became so at the latest."""
        if bad == self.there:
            self.since = None
            return False
        if self.since is None:
            self.since = since
        if now - self.since < (self.recovers if self.there else self.lasts):
            return False
        self.there, self.began, self.since = bad, self.since if bad else self.began, None
        return True


class Health:
    """Of one camera, looked at as often as there is time; `now` is any clock that only goes forward, in seconds."""

    def __init__(self, settings: Settings) -> None:
        self.conditions = {
            name: Condition(name, lasts, settings.recovered)
            for name in ("stalled", "frozen", "dark", "bright", "blurred", "moved")
            if (lasts := getattr(settings, name))
        }
        self.stalled = settings.stalled
        self.last: float | None = None
        """When a picture came last; before the first, when it was asked for."""
        self.looked = float("-inf")
        self.view: View | None = None
        self.usual: Any = None
        """The mean outlines of the minutes before."""
        self.sharpness: deque[float] = deque(maxlen=_SEEN)
        self.likeness: deque[float] = deque(maxlen=_SEEN)

    def changes(self, frame: Frame | None, now: float, why: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """Notices of what has changed: their kind and their facts.

        Args:
            frame: the picture that came; None: none did
            now: when
            why: what is known of why none comes
        """
        if frame is not None or self.last is None:
            self.last = now
        silent = now - self.last >= self.stalled
        for kind, facts in self._seen("stalled", silent, now, self.last if silent else now):
            yield kind, facts | ({"reason": why} if silent and why else {})
        if frame is None or now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        view, before = View.of(frame.pixels), self.view
        self.view = view
        for name, bad in self._faults(view, before).items():
            yield from self._seen(name, bad, now, now)
        self._learn(view, now)

    def faults(self) -> list[str]:
        """What is wrong now."""
        return [name for name, condition in self.conditions.items() if condition.there]

    def _seen(self, name: str, bad: bool, now: float, since: float) -> Iterator[tuple[str, dict[str, Any]]]:
        condition = self.conditions.get(name)
        if condition is None or not condition.see(bad, now, since):
            return
        if bad:
            yield name, {"seconds": round(now - condition.began, 1)}
        else:
            yield "recovered", {"from": name, "seconds": round(now - condition.began, 1)}

    def _faults(self, view: View, before: View | None) -> dict[str, bool]:
        dark, bright = view.lightest < DARK, view.darkest > BRIGHT
        plain = dark or bright
        soft = not plain and view.sharpness < SOFT * _low(self.sharpness)
        alike = self._likeness(view)
        return {
            "frozen": before is not None and view.digest == before.digest,
            "dark": dark,
            "bright": bright,
            "blurred": soft,
            "moved": not plain and not soft and alike < ALIKE * _low(self.likeness),
        }

    def _likeness(self, view: View) -> float:
        if self.usual is None:
            return 1.0
        return float((view.outlines * self.usual).sum() / (np.linalg.norm(self.usual) or 1))

    def _learn(self, view: View, now: float) -> None:
        """What is well is how it looks; and so is, after a while, what does not become well."""
        doubtful = [
            each
            for name, each in self.conditions.items()
            if name != "stalled" and (each.there or each.since is not None)
        ]
        if any(
            now - each.began > _ADOPT_SECONDS for each in doubtful if each.there and each.name in ("blurred", "moved")
        ):
            self.sharpness.clear()
            self.likeness.clear()
            self.usual = None
        elif doubtful:
            return
        self.likeness.append(self._likeness(view))
        self.sharpness.append(view.sharpness)
        self.usual = view.outlines.copy() if self.usual is None else 0.98 * self.usual + 0.02 * view.outlines


def _low(values: deque[float]) -> float:
    """The low end of what is usual; 0 where that is not known."""
    return float(np.percentile(values, 5)) if len(values) >= _ENOUGH else 0.0
