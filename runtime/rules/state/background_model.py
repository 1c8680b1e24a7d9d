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
from math import exp

import cv2
import numpy as np
from numpy.typing import NDArray

from ...camera.frame import Frame
from ...inference.prediction import Box
from .gray_image import (
    GrayImage,
    Mask,
    boxes_to_mask,
    compare_edges,
    downscale,
    find_area,
    find_known_median,
    find_median,
    find_share,
)
from .light_matching import match_light

_FAST_SECONDS, _LATE_SECONDS, _SLOW_SECONDS = 0.5, 3.0, 60.0  # in which the averages take up 63 % of a change
_DRIFT_SECONDS = 10.0  # the same for the background where it changes slowly
_SAMPLES = 25  # frames of the first median
_MOVING_CONTRAST = 10.0  # gray levels from the fast average; beyond that something moves
_ONSET = 0.5  # of `contrast`: between the fast and the late average, a change at once
_SHARED_ONSET = 0.3  # of the frame; a change at once of more is one of light
_NOISE_FACTOR = 4.0  # standard deviations of the noise that are no change
_COUNTDOWN_FACTOR = 4.0  # seconds run down so many times faster than they count up
_BOX_SECONDS = 1.0  # for which a box still counts as ignored: detectors miss somebody in single frames
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
        self.total_seconds: NDArray[np.float64]
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
        boxes = boxes_to_mask(ignored_boxes, gray.shape)
        if self.last_moment is None or frame.moment < self.last_moment or gray.shape != self.slow.shape:
            self._start(gray, frame.moment)
        seconds, self.last_moment = frame.moment - (self.last_moment or 0.0), frame.moment
        self._follow(gray, seconds)
        self.box_seconds -= np.float32(seconds)
        self.box_seconds[boxes] = _BOX_SECONDS
        ignored = self.box_seconds > 0
        if self.samples:
            self._learn(np.where(ignored, np.nan, gray), frame.moment)
            return self.static_seconds >= self.seconds
        if self.unknown.any():
            np.copyto(self.slow, gray, where=self.unknown & ~ignored)
            self.unknown &= ignored
        self.matched = match_light(self.slow, gray, ignored)
        changed = self.changed = self._find_changes(gray)
        self.strange_seconds = self.strange_seconds + seconds if find_share(changed & ~ignored) > 0.5 else 0.0
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
        target = (self.matched if find_share(changed) < _MANY_CHANGED else self.slow).copy()
        cv2.copyTo(gray, unchanged.view(np.uint8), target)
        self.slow += _average_weight(seconds, _SLOW_SECONDS) * (target - self.slow)
        if drifting.any():
            self.slow[drifting] += _average_weight(seconds, _DRIFT_SECONDS) * (gray[drifting] - self.slow[drifting])
        self.drifted = (self.drifted | drifting) & ~unchanged
        self._count_seconds(min(seconds, self.seconds / 4), static, unchanged)  # a long gap counts no more than this
        self._take_in(self.total_seconds >= self.absorb)
        return self.static_seconds >= self.seconds

    def reset(self) -> None:
        """Sets all seconds to zero; the background stays."""
        if self.last_moment is not None:
            self.static_seconds[:], self.total_seconds[:] = 0, 0

    def edge_ratio(self, blob: Mask) -> float:
        """1: the outline of the pixels `blob` is an edge now and was none in the background; 0: the reverse."""
        return compare_edges(blob, self.fast, self.matched)

    def is_over(self, blob: Mask) -> bool:
        """True if most of the pixels `blob` are like the background again: what counts is about to run down."""
        return float(self.changed[blob].mean()) < 0.5

    def take_in_light(self, blob: Mask) -> bool:
        """True if the pixels `blob` show what they showed before, in another light; it is then learned at once."""
        area = find_area(blob, _STRUCTURE_MARGIN)
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
            some = difference[::2, ::2].copy()
            off = np.abs(some - find_median(some))
            self.noise += _average_weight(seconds, _LATE_SECONDS) * (1.4826 * float(find_median(off)) - self.noise)
        self.fast += np.float32(_average_weight(seconds, _FAST_SECONDS)) * difference
        self.late += np.float32(_average_weight(seconds, _LATE_SECONDS)) * (gray - self.late)

    def _find_changes(self, gray: GrayImage) -> Mask:
        """The pixels that differ from the background; those that count already need a smaller difference."""
        limit = np.float64(max(self.contrast, _NOISE_FACTOR * self.noise))
        difference = np.abs(gray - self.matched)
        changed = np.asarray(difference > limit)
        if (counting := self.static_seconds > 0).any():
            changed |= counting & (difference > _HYSTERESIS * limit)
        return changed

    def _count_seconds(self, seconds: float, static: Mask, unchanged: Mask) -> None:
        """Counts up where the picture is `static`, and down where it is `unchanged`; most pixels are at 0 and stay."""
        pixels = static | (self.static_seconds > 0)
        if not pixels.any():
            return
        up, down, passed = static[pixels], unchanged[pixels], self.static_seconds[pixels]
        passed += seconds * up - _COUNTDOWN_FACTOR * seconds * down
        np.clip(passed, 0, self.seconds + _HOLD_SECONDS * _COUNTDOWN_FACTOR, out=passed)
        self.static_seconds[pixels] = passed
        self.total_seconds[pixels] = (self.total_seconds[pixels] + seconds * up) * (passed > 0)

    def _note_onsets(self, changed: Mask, ignored: Mask) -> None:
        """Notes where the picture has changed at once, unless that is so in much of it."""
        step = self.fast - self.late
        step -= find_median(step[::2, ::2])
        onset = np.abs(step) > max(_ONSET * self.contrast, _NOISE_FACTOR / 2 * self.noise)
        onset |= ignored
        if find_share(onset & ~ignored) <= _SHARED_ONSET:
            self.came_at_once |= onset & ~self.drifted
        self.came_at_once &= changed | ignored | (self.static_seconds > 0)

    def _take_in(self, pixels: Mask) -> None:
        """Makes these pixels part of the background as they are now."""
        if not pixels.any():
            return
        self.slow[pixels], self.static_seconds[pixels], self.total_seconds[pixels] = self.fast[pixels], 0, 0
        self.came_at_once[pixels] = False

    def _start(self, gray: GrayImage, moment: float) -> None:
        self.fast, self.late, self.slow, self.matched = (gray.copy() for _ in range(4))
        self.static_seconds, self.total_seconds = np.zeros_like(gray), np.zeros_like(gray, np.float64)
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
            self.slow = find_known_median(samples)
            self.samples = []


def _average_weight(seconds: float, lag: float) -> float:
    """Fraction of a change that a running average takes up in so many seconds."""
    return 1 - exp(-seconds / lag)
