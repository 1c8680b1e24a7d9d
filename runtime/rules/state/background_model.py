"""A two-rate background model: which pixels have changed and since then stand still (Porikli 2007).

It keeps two running averages of a small gray image, a fast and a slow one:

    like the fast one, unlike the slow one      changed and static: its seconds count up
    like both                                   unchanged: its seconds run down
    unlike the fast one                         something passes: its seconds stay

The model starts as the median of the first `learn` seconds, in which no event is reported. A person who walks through
meanwhile is not part of it; a person who stands there for more than half of that time is, and later seems to be
removed. After that it learns only pixels that are like the background, so that a bag does not fade into it, until the
bag has stood for `absorb` seconds. A change of light that is common to the whole frame is removed by its median. If
more than half of the frame has changed after that, the model starts again: the light or the camera has changed, or a
lorry stands in front of it.

It is imprecise for objects whose gray level is close to that of their background, for shadows and spots of light that
stay, and for objects narrower than a few pixels of the small image.
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

GrayImage = NDArray[np.float32]
Mask = NDArray[np.bool_]

WIDTH = 160  # pixels of the small image
_FAST_SECONDS, _SLOW_SECONDS = 0.5, 60.0  # seconds in which the averages take up 63 % of a change
_SAMPLES = 25  # frames of the first median
_MOVING_CONTRAST = 10.0  # gray levels from the fast average; beyond that something moves
_COUNTDOWN_FACTOR = 4.0  # seconds run down so many times faster than they count up
_BOX_MARGIN = 0.1  # fraction of its size by which an ignored box grows: detectors cut off shoes
_HOLD_SECONDS = 0.25  # counted beyond `seconds`, so that a short flicker changes nothing


class BackgroundModel:
    """The background of one camera."""

    def __init__(self, seconds: float, absorb: float, contrast: float, learn: float) -> None:
        """Starts without a background.

        Args:
            seconds: after which a static change is reported
            absorb: seconds after which it becomes part of the background
            contrast: difference in gray levels, 0…255, that counts as a change
            learn: seconds over which the first median is taken
        """
        self.seconds, self.absorb, self.contrast, self.learn = seconds, absorb, contrast, learn
        self.last_moment: float | None = None
        self.fast: GrayImage
        """The fast average."""
        self.slow: GrayImage
        """The slow average: the background."""
        self.static_seconds: GrayImage
        """Seconds for which each pixel has been changed and static, up to a limit."""
        self.total_seconds: GrayImage
        """Those seconds without the limit; they decide about `absorb`."""

    def update(self, frame: Frame, ignored_boxes: Iterable[Box] = ()) -> Mask:
        """The pixels of the small image that have changed and been static for long enough.

        Pixels within `ignored_boxes` are neither learned nor counted.
        """
        gray = downscale(frame.pixels)
        ignored = _boxes_to_mask(ignored_boxes, gray.shape)
        if self.last_moment is None or frame.moment < self.last_moment or gray.shape != self.slow.shape:
            self._start(gray, frame.moment)
        seconds, self.last_moment = frame.moment - (self.last_moment or 0.0), frame.moment
        self.fast += _average_weight(seconds, _FAST_SECONDS) * (gray - self.fast)
        if self.samples:
            self._learn(np.where(ignored, np.nan, gray), frame.moment)
            return self.static_seconds >= self.seconds
        self.slow = np.where(self.unknown & ~ignored, gray, self.slow)
        self.unknown &= ignored
        difference = gray - self.slow
        difference -= np.median(difference)
        changed = np.abs(difference) > self.contrast
        if changed.mean() > 0.5:
            self._start(gray, frame.moment)
            return self.static_seconds >= self.seconds
        steady = (np.abs(gray - self.fast) <= _MOVING_CONTRAST) & ~ignored
        static, unchanged = steady & changed, steady & ~changed
        self.slow += _average_weight(seconds, _SLOW_SECONDS) * (gray - self.slow) * unchanged
        seconds = min(seconds, self.seconds / 4)  # a frame after a long gap counts no more than this
        self.static_seconds += seconds * static - _COUNTDOWN_FACTOR * seconds * unchanged
        np.clip(self.static_seconds, 0, self.seconds + _HOLD_SECONDS * _COUNTDOWN_FACTOR, out=self.static_seconds)
        self.total_seconds = (self.total_seconds + seconds * static) * (self.static_seconds > 0)
        absorbed = self.total_seconds >= self.absorb
        self.slow[absorbed], self.static_seconds[absorbed], self.total_seconds[absorbed] = self.fast[absorbed], 0, 0
        return self.static_seconds >= self.seconds

    def reset(self) -> None:
        """Sets all seconds to zero; the background stays."""
        if self.last_moment is not None:
            self.static_seconds[:], self.total_seconds[:] = 0, 0

    def edge_ratio(self, blob: Mask) -> float:
        """1: the outline of the pixels `blob` is an edge now and was none in the background; 0: the reverse."""
        shape = blob.astype(np.uint8)
        band = (cv2.dilate(shape, np.ones((5, 5))) - cv2.erode(shape, np.ones((3, 3)))).astype(bool)
        now, before = (float(_gradient_magnitude(gray)[band].mean()) for gray in (self.fast, self.slow))
        return now / max(now + before, 1e-6)

    def _start(self, gray: GrayImage, moment: float) -> None:
        self.fast, self.slow = gray.copy(), gray.copy()
        self.static_seconds, self.total_seconds = np.zeros_like(gray), np.zeros_like(gray)
        self.started = self.last_moment = moment
        self.samples = [np.full_like(gray, np.nan)]
        self.unknown = np.ones_like(gray, bool)

    def _learn(self, gray: GrayImage, moment: float) -> None:
        if moment - self.started >= (len(self.samples) - 1) * self.learn / _SAMPLES:
            self.samples.append(gray)
        if moment - self.started >= self.learn:
            samples = np.stack(self.samples)
            self.unknown = np.asarray(np.isnan(samples).all(axis=0))
            samples[0] = np.where(self.unknown, self.fast, np.nan)
            self.slow = np.nanmedian(samples, axis=0)
            self.samples = []


def downscale(pixels: NDArray[Any]) -> GrayImage:
    """The frame in gray levels, WIDTH pixels wide, slightly blurred against noise."""
    height, width = pixels.shape[:2]
    size = (WIDTH, max(round(WIDTH * height / width), 1))
    gray = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.GaussianBlur(gray, (3, 3), 0), np.float32)


def _boxes_to_mask(boxes: Iterable[Box], shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, bool)
    height, width = shape
    for box in boxes:
        aside, above = _BOX_MARGIN * (box.right - box.left), _BOX_MARGIN * (box.bottom - box.top)
        top, bottom = max(floor((box.top - above) * height), 0), max(ceil((box.bottom + above) * height), 0)
        left, right = max(floor((box.left - aside) * width), 0), max(ceil((box.right + aside) * width), 0)
        mask[top:bottom, left:right] = True
    return mask


def _average_weight(seconds: float, lag: float) -> float:
    """Fraction of a change that a running average takes up in so many seconds."""
    return 1 - exp(-seconds / lag)


def _gradient_magnitude(gray: GrayImage) -> GrayImage:
    return np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
