"""What the picture looks like where nothing happens, and which parts of it have changed and stand still.

Two averages of a small grey picture, one quick and one slow (two-rate background, Porikli 2007):

    like the quick one, unlike the slow one     has changed and stands still: its seconds count
    like both                                   nothing has changed: they run down
    unlike the quick one                        something passes: they stay as they are

It begins as the median of what it saw in the first `learn` seconds, in which nothing is told, so that who walks through
meanwhile is not in it; who stands there for more than half of them is, and seems to be removed on leaving. From then on
it learns only where the picture is like it, so that a bag does not fade into it while it is watched, until the bag has
stood for `absorb` seconds and belongs to the place. A change of light that the whole picture shares is taken out by its
median; where after that more than half of the picture has changed, a lamp or the camera has, or a lorry stands before
it, and it begins anew.

It is imprecise for what is about as grey as the place that it stands on, for shadows and pools of light that settle,
and for anything narrower than a few of its pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, exp, floor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...camera.frame import Frame
from ...inference.prediction import Box

Grey = NDArray[np.float32]
Mask = NDArray[np.bool_]

WIDTH = 160  # pixels of the small picture
_QUICK, _SLOW = 0.5, 60.0  # seconds in which the averages take up 63 % of a change
_SAMPLES = 25  # of which the median is taken
_PASSING = 10.0  # grey levels from the quick average
_FADE = 4.0  # seconds run down so much faster than they count
_AROUND = 0.1  # of its size by which a veil is larger than its box: detectors cut off shoes
_SPARE = 0.25  # seconds that are counted beyond the asked: what flickers for a moment stays


class Background:
    """See above."""

    def __init__(self, seconds: float, absorb: float, contrast: float, learn: float) -> None:
        """Nothing is learnt yet.

        Args:
            seconds: after which what stands still is told
            absorb: seconds after which it belongs to the place
            contrast: grey levels, 0…255, that are a change
            learn: seconds of which the median is taken
        """
        self.seconds, self.absorb, self.contrast, self.learn = seconds, absorb, contrast, learn
        self.last: float | None = None
        self.quick: Grey
        """As it is now, but for what passes."""
        self.slow: Grey
        """As it was before."""
        self.still: Grey
        """Seconds for which each pixel has stood changed."""
        self.stood: Grey
        """The same, with no end."""

    def show(self, frame: Frame, veils: Iterable[Box] = ()) -> Mask:
        """Which pixels of the small picture have changed and stood still for long enough.

        What lies within one of the `veils` is neither learnt nor counted; it stays as it was.
        """
        grey = small(frame.pixels)
        veiled = _within(veils, grey.shape)
        if self.last is None or frame.taken < self.last or grey.shape != self.slow.shape:
            self._start(grey, frame.taken)
        seconds, self.last = frame.taken - (self.last or 0.0), frame.taken
        self.quick += _share(seconds, _QUICK) * (grey - self.quick)
        if self.samples:
            self._learn(np.where(veiled, np.nan, grey), frame.taken)
            return self.still >= self.seconds
        self.slow = np.where(self.unseen & ~veiled, grey, self.slow)
        self.unseen &= veiled
        off = grey - self.slow
        off -= np.median(off)
        changed = np.abs(off) > self.contrast
        if changed.mean() > 0.5:
            self._start(grey, frame.taken)
            return self.still >= self.seconds
        steady = (np.abs(grey - self.quick) <= _PASSING) & ~veiled
        standing, same = steady & changed, steady & ~changed
        self.slow += _share(seconds, _SLOW) * (grey - self.slow) * same
        seconds = min(seconds, self.seconds / 4)  # no single frame counts for more, however long there was none
        self.still += seconds * standing - _FADE * seconds * same
        np.clip(self.still, 0, self.seconds + _SPARE * _FADE, out=self.still)
        self.stood = (self.stood + seconds * standing) * (self.still > 0)
        old = self.stood >= self.absorb
        self.slow[old], self.still[old], self.stood[old] = self.quick[old], 0, 0
        return self.still >= self.seconds

    def forget(self) -> None:
        """All seconds count anew; what it has learnt stays."""
        if self.last is not None:
            self.still[:], self.stood[:] = 0, 0

    def edges(self, blob: Mask) -> float:
        """Whether the outline of the pixels `blob` is an edge now (1) or was one before (0); 0.5: as much as it was."""
        shape = blob.astype(np.uint8)
        band = (cv2.dilate(shape, np.ones((5, 5))) - cv2.erode(shape, np.ones((3, 3)))).astype(bool)
        now, before = (float(_slope(grey)[band].mean()) for grey in (self.quick, self.slow))
        return now / max(now + before, 1e-6)

    def _start(self, grey: Grey, taken: float) -> None:
        self.quick, self.slow = grey.copy(), grey.copy()
        self.still, self.stood = np.zeros_like(grey), np.zeros_like(grey)
        self.began = self.last = taken
        self.samples = [np.full_like(grey, np.nan)]
        self.unseen = np.ones_like(grey, bool)

    def _learn(self, grey: Grey, taken: float) -> None:
        if taken - self.began >= (len(self.samples) - 1) * self.learn / _SAMPLES:
            self.samples.append(grey)
        if taken - self.began >= self.learn:
            samples = np.stack(self.samples)
            self.unseen = np.asarray(np.isnan(samples).all(axis=0))
            samples[0] = np.where(self.unseen, self.quick, np.nan)
            self.slow = np.nanmedian(samples, axis=0)
            self.samples = []


def small(pixels: NDArray[Any]) -> Grey:
    """The picture in grey levels, WIDTH pixels wide, a little blurred against noise."""
    height, width = pixels.shape[:2]
    size = (WIDTH, max(round(WIDTH * height / width), 1))
    grey = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.GaussianBlur(grey, (3, 3), 0), np.float32)


def _within(boxes: Iterable[Box], shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, bool)
    height, width = shape
    for box in boxes:
        aside, above = _AROUND * (box.right - box.left), _AROUND * (box.bottom - box.top)
        top, bottom = max(floor((box.top - above) * height), 0), max(ceil((box.bottom + above) * height), 0)
        left, right = max(floor((box.left - aside) * width), 0), max(ceil((box.right + aside) * width), 0)
        mask[top:bottom, left:right] = True
    return mask


def _share(seconds: float, lag: float) -> float:
    """Of a change that an average takes up in so long."""
    return 1 - exp(-seconds / lag)


def _slope(grey: Grey) -> Grey:
    return np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
