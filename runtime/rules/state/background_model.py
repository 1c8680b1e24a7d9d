"""A background model with several rates: which pixels have changed at once and since then stand still.

It keeps running averages of a small gray image: a fast one, a late one, and a slow one, the background (Porikli 2007).
The background is compared in the light of the present frame (light_matching.py):

    like the fast one, unlike the background    changed and static: its seconds count up, if it has changed at once
    like both                                   unchanged: its seconds run down
    unlike the fast one                         something passes: its seconds stay

An object comes at once: when it was put down, or when the person in front of it went away. What changes within minutes
is light, and is learned. The late average tells them apart.

The model starts as the median of the first `learn` seconds, in which no event is reported. A person who walks through
meanwhile is not part of it; a person who stands there for more than half of that time is, and later seems to be
removed. After that it learns only pixels that are like the background, so that a bag does not fade into it, until the
bag has stood for `absorb` seconds; the light of the other pixels is kept up to date. If much of the frame changes at
once, nothing of it counts. While more than half of the frame has changed, all seconds stay; after five seconds the
model starts again: the camera has moved, or a lorry stands in front of it.

It is imprecise for objects whose gray level is close to that of their background, for spots of light on a surface
without texture, and for objects narrower than a few pixels of the small image.
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
from .light_matching import GrayImage, Mask, match_light

WIDTH = 160  # pixels of the small image
_FAST_SECONDS, _LATE_SECONDS, _SLOW_SECONDS = 0.5, 3.0, 60.0  # in which the averages take up 63 % of a change
_DRIFT_SECONDS = 10.0  # the same for the background where it changes slowly
_SAMPLES = 25  # frames of the first median
_MOVING_CONTRAST = 10.0  # gray levels from the fast average; beyond that something moves
_ONSET = 0.5  # of `contrast`: between the fast and the late average, a change at once
_SHARED_ONSET = 0.3  # of the frame; a change at once of more is one of light
_NOISE_FACTOR = 4.0  # standard deviations of the noise that are no change
_COUNTDOWN_FACTOR = 4.0  # seconds run down so many times faster than they count up
_BOX_SECONDS = 1.0  # for which a box still counts as ignored: detectors miss somebody in single frames
_BOX_MARGIN = 0.1  # fraction of its size by which an ignored box grows: detectors cut off shoes
_MANY_CHANGED = 0.15  # of the frame; the light is not known well enough then to learn it behind an object
_RESTART_SECONDS = 5.0  # for which more than half of the frame must have changed
_HYSTERESIS = 0.6  # of the contrast, from which a change that counts already is none any longer
_HOLD_SECONDS = 0.75  # counted beyond `seconds`, so that a short flicker changes nothing
_SAME_STRUCTURE = 0.7  # correlation of two pictures of the same thing in another light
_LEAST_STRUCTURE = 0.25  # of the stronger picture's contrast; a weaker one is what the fast average has kept
_STRUCTURE_MARGIN = 2  # pixels around a blob that belong to its picture


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
        self.late: GrayImage
        """The late average."""
        self.slow: GrayImage
        """The slow average: the background."""
        self.matched: GrayImage
        """The background in the light of the last frame."""
        self.changed: Mask
        """Pixels of the last frame that differ from it."""
        self.came_at_once: Mask
        """Pixels that have changed at once since they were last like the background."""
        self.drifted: Mask
        """Pixels that have changed slowly since then: who passes there leaves nothing behind that counts."""
        self.static_seconds: GrayImage
        """Seconds for which each pixel has been changed and static, up to a limit."""
        self.total_seconds: GrayImage
        """Those seconds without the limit; they decide about `absorb`."""
        self.box_seconds: GrayImage
        """Seconds for which each pixel still counts as ignored."""
        self.unknown: Mask
        """Pixels that were ignored whenever the background was learned."""
        self.samples: list[GrayImage] = []
        self.noise = 0.0
        """Standard deviation of the noise in gray levels."""
        self.strange_seconds = 0.0
        """Seconds for which more than half of the frame has been changed."""

    def update(self, frame: Frame, ignored_boxes: Iterable[Box] = ()) -> Mask:
        """The pixels of the small image that have changed and been static for long enough.

        Pixels within `ignored_boxes` are neither learned nor counted.
        """
        gray = downscale(frame.pixels)
        boxes = _boxes_to_mask(ignored_boxes, gray.shape)
        if self.last_moment is None or frame.moment < self.last_moment or gray.shape != self.slow.shape:
            self._start(gray, frame.moment)
        seconds, self.last_moment = frame.moment - (self.last_moment or 0.0), frame.moment
        self._follow(gray, seconds)
        self.box_seconds = np.where(boxes, np.float32(_BOX_SECONDS), self.box_seconds - np.float32(seconds))
        ignored = self.box_seconds > 0
        if self.samples:
            self._learn(np.where(ignored, np.nan, gray), frame.moment)
            return self.static_seconds >= self.seconds
        self.slow = np.where(self.unknown & ~ignored, gray, self.slow)
        self.unknown &= ignored
        self.matched = match_light(self.slow, gray, ignored)
        limit = max(self.contrast, _NOISE_FACTOR * self.noise)
        changed = np.abs(gray - self.matched) > np.where(self.static_seconds > 0, _HYSTERESIS * limit, limit)
        self.changed = changed
        self.strange_seconds = self.strange_seconds + seconds if (changed & ~ignored).mean() > 0.5 else 0.0
        if self.strange_seconds > 0:
            if self.strange_seconds > _RESTART_SECONDS:
                self._start(gray, frame.moment)
            return self.static_seconds >= self.seconds
        self._note_onsets(changed, ignored)
        moving = max(_MOVING_CONTRAST, _NOISE_FACTOR * self.noise)
        steady = (np.abs(gray - self.fast) <= moving) & ~ignored
        static, unchanged, drifting = (
            steady & changed & self.came_at_once,
            steady & ~changed,
            steady & changed & ~self.came_at_once,
        )
        target = self.matched if changed.mean() < _MANY_CHANGED else self.slow
        self.slow += _average_weight(seconds, _SLOW_SECONDS) * (np.where(unchanged, gray, target) - self.slow)
        self.slow += _average_weight(seconds, _DRIFT_SECONDS) * (gray - self.slow) * drifting
        self.drifted = (self.drifted | drifting) & ~unchanged
        seconds = min(seconds, self.seconds / 4)  # a frame after a long gap counts no more than this
        self.static_seconds += seconds * static - _COUNTDOWN_FACTOR * seconds * unchanged
        np.clip(self.static_seconds, 0, self.seconds + _HOLD_SECONDS * _COUNTDOWN_FACTOR, out=self.static_seconds)
        self.total_seconds = (self.total_seconds + seconds * static) * (self.static_seconds > 0)
        self._take_in(self.total_seconds >= self.absorb)
        return self.static_seconds >= self.seconds

    def reset(self) -> None:
        """Sets all seconds to zero; the background stays."""
        if self.last_moment is not None:
            self.static_seconds[:], self.total_seconds[:] = 0, 0

    def edge_ratio(self, blob: Mask) -> float:
        """1: the outline of the pixels `blob` is an edge now and was none in the background; 0: the reverse."""
        shape = blob.astype(np.uint8)
        band = (cv2.dilate(shape, np.ones((5, 5))) - cv2.erode(shape, np.ones((3, 3)))).astype(bool)
        now, before = (float(_gradient_magnitude(gray)[band].mean()) for gray in (self.fast, self.matched))
        return now / max(now + before, 1e-6)

    def is_over(self, blob: Mask) -> bool:
        """True if most of the pixels `blob` are like the background again: what counts is about to run down."""
        return float(self.changed[blob].mean()) < 0.5

    def take_in_light(self, blob: Mask) -> bool:
        """True if the pixels `blob` show what they showed before, in another light; it is then learned at once."""
        rows, columns = (np.flatnonzero(blob.any(axis=axis)) for axis in (1, 0))
        area = tuple(
            slice(max(int(some[0]) - _STRUCTURE_MARGIN, 0), int(some[-1]) + 1 + _STRUCTURE_MARGIN)
            for some in (rows, columns)
        )
        now, before = (gray[area] - gray[area].mean() for gray in (self.fast, self.matched))
        strong, weak = max(now.std(), before.std()), min(now.std(), before.std())
        same = weak > _LEAST_STRUCTURE * strong and (now * before).mean() > _SAME_STRUCTURE * strong * weak
        if same:
            self._take_in(blob)
        return bool(same)

    def _follow(self, gray: GrayImage, seconds: float) -> None:
        """Moves the averages of what is seen, and measures the noise: the median frame against the fast average."""
        difference = gray - self.fast
        if seconds > 0:
            off = np.abs(difference[::2, ::2] - np.median(difference[::2, ::2]))
            self.noise += _average_weight(seconds, _LATE_SECONDS) * (1.4826 * float(np.median(off)) - self.noise)
        self.fast += np.float32(_average_weight(seconds, _FAST_SECONDS)) * difference
        self.late += np.float32(_average_weight(seconds, _LATE_SECONDS)) * (gray - self.late)

    def _note_onsets(self, changed: Mask, ignored: Mask) -> None:
        """Notes where the picture has changed at once, unless that is so in much of it."""
        step = self.fast - self.late
        step -= np.median(step[::2, ::2])
        onset = np.abs(step) > max(_ONSET * self.contrast, _NOISE_FACTOR / 2 * self.noise)
        onset |= ignored
        if (onset & ~ignored).mean() <= _SHARED_ONSET:
            self.came_at_once |= onset & ~self.drifted
        self.came_at_once &= changed | ignored | (self.static_seconds > 0)

    def _take_in(self, pixels: Mask) -> None:
        """Makes these pixels part of the background as they are now."""
        self.slow[pixels], self.static_seconds[pixels], self.total_seconds[pixels] = self.fast[pixels], 0, 0
        self.came_at_once[pixels] = False

    def _start(self, gray: GrayImage, moment: float) -> None:
        self.fast, self.late, self.slow, self.matched = (gray.copy() for _ in range(4))
        self.static_seconds, self.total_seconds = np.zeros_like(gray), np.zeros_like(gray)
        self.came_at_once, self.drifted = np.zeros_like(gray, bool), np.zeros_like(gray, bool)
        self.strange_seconds = 0.0
        self.changed = np.zeros_like(gray, bool)
        self.noise, self.box_seconds = 0.0, np.zeros_like(gray)
        self.started = self.last_moment = moment
        self.samples = [np.full_like(gray, np.nan)]
        self.unknown = np.ones_like(gray, bool)

    def _learn(self, gray: GrayImage, moment: float) -> None:
        if moment - self.started >= (len(self.samples) - 1) * self.learn / _SAMPLES:
            self.samples.append(gray)
        if moment - self.started >= self.learn:
            samples = np.stack([match_light(each, self.fast, np.isnan(each)) for each in self.samples[1:]])
            self.unknown = np.asarray(np.isnan(samples).all(axis=0))
            samples[0] = np.where(self.unknown, self.fast, samples[0])
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
