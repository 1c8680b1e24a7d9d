"""The background as it would look in the light of the present frame.

Light changes in all of the frame (a lamp, the exposure, fog, night) and in large parts of it (a cloud). The first is a
gain and an offset, fitted to the pixels that fit best; the second a gain that varies slowly over the frame, the median
of each cell of a coarse grid and its neighbors. What is smaller than about a tenth of the frame does not move a median,
so a bag stays a difference; a larger object is partly taken for light.
"""

from __future__ import annotations

import cv2
import numpy as np

from .gray_image import GrayImage, Mask, find_median, find_share

_STEP = 2  # every second pixel of both directions is looked at
_CELL = 8  # of those pixels: a cell of the grid has 16 x 16 pixels of the small image
_FIT_ROUNDS = 2
_MAX_GAIN = 4.0
_MAX_LOCAL_GAIN = 2.5
_LEAST_VARIANCE = 50.0  # gray levels squared; a flatter background does not tell its gain
_CUT = 20.0  # gray levels; pixels that are off by more count as off by so much
_CLEARLY = 0.9  # of the misfit
_LEAST_SEEN = 0.2  # of the frame; if less is not ignored, all of it decides
_SATURATED = 250.0
_DARKEST = 8.0  # gray levels from which a ratio means something


def match_light(background: GrayImage, gray: GrayImage, ignored: Mask | None = None) -> GrayImage:
    """The background in the light of `gray`, H x W, gray levels. Pixels of `ignored` do not decide about the light."""
    before, now = background[::_STEP, ::_STEP], gray[::_STEP, ::_STEP]
    usable = np.isfinite(before)
    if ignored is not None:
        seen = usable & ~ignored[::_STEP, ::_STEP]
        usable = seen if find_share(seen) > _LEAST_SEEN else usable
    exposed = usable & (now < _SATURATED)
    fitting = np.flatnonzero(exposed if find_share(exposed) > _LEAST_SEEN else usable)[::_STEP]
    if not fitting.size:
        return background
    gain, offset = _fit_gain(before.ravel()[fitting], now.ravel()[fitting])
    matched = np.clip(background * np.float32(gain) + np.float32(offset), 0, 255)
    ratio = (now + _DARKEST) / (matched[::_STEP, ::_STEP] + _DARKEST)
    ratio[~usable] = 1.0
    field = cv2.resize(_smooth_gain(ratio), gray.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip((matched + _DARKEST) * field - _DARKEST, 0, 255), np.float32)


def _fit_gain(before: GrayImage, now: GrayImage) -> tuple[float, float]:
    """Gain and offset that explain most of the pixels: a gain alone, unless an offset, or both, are clearly better.

    On a plain floor nothing tells them apart, and a lamp or the exposure is a gain.
    """
    median = float(find_median(before)) + _DARKEST
    ratio = min(max((float(find_median(now)) + _DARKEST) / median, 1 / _MAX_GAIN), _MAX_GAIN)
    by_gain = (ratio, _DARKEST * (ratio - 1))
    by_offset = (1.0, float(find_median(now - before)))
    others = (by_offset, _refine(before, now, *by_gain), _refine(before, now, *by_offset))
    misfit, best = min(((_misfit(before, now, fit), fit) for fit in others), key=lambda each: each[0])
    return best if misfit < _CLEARLY * _misfit(before, now, by_gain) else by_gain


def _misfit(before: GrayImage, now: GrayImage, fit: tuple[float, float]) -> float:
    return float(np.minimum(np.abs(now - fit[0] * before - fit[1]), _CUT).mean())


def _refine(before: GrayImage, now: GrayImage, gain: float, offset: float) -> tuple[float, float]:
    """The least squares of the pixels that fit, a few times."""
    for _ in range(_FIT_ROUNDS):
        off = np.abs(now - gain * before - offset)
        kept = np.flatnonzero(off <= 2.5 * find_median(off) + 1)
        if not kept.size:
            break
        some, then = before[kept], now[kept]
        deviation = some - some.mean()
        if (variance := float((deviation * deviation).mean())) < _LEAST_VARIANCE:
            break
        slope = float((deviation * (then - then.mean())).mean()) / variance
        gain = min(max(slope, 1 / _MAX_GAIN), _MAX_GAIN)
        offset = float(find_median(then - gain * some))
    return gain, offset


def _smooth_gain(ratio: GrayImage) -> GrayImage:
    """The median of each cell, then of each cell and its neighbors."""
    rows, columns = (max(round(each / _CELL), 1) for each in ratio.shape)
    even = cv2.resize(ratio, (columns * _CELL, rows * _CELL), interpolation=cv2.INTER_NEAREST)
    cells = even.reshape(rows, _CELL, columns, _CELL).swapaxes(1, 2).reshape(rows, columns, -1)
    middle = cells.shape[2] // 2
    parted = np.partition(cells, (middle - 1, middle), axis=2)
    medians = (parted[..., middle - 1] + parted[..., middle]) / 2
    return np.asarray(np.clip(cv2.medianBlur(medians, 3), 1 / _MAX_LOCAL_GAIN, _MAX_LOCAL_GAIN), np.float32)
