"""Privacy zones of a camera that was moved a little: where they lie now, grown by what is not sure.

What lay outside of the view for which the zones were drawn is hidden, too: nobody has said that it may be shown.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .outline_fit import measure_spread
from .view_matcher import SIDE, ViewMatcher, ViewMotion

FOLLOW_SHARE = 0.6  # of the cells that must look alike before zones follow
FAINT = 0.5  # pixels of SIDE from which zones follow; below, a motion is not told from noise
MAX_SHIFT = 0.15 * SIDE  # pixels
MAX_GROWTH = 0.05 * SIDE  # pixels
_GROWTH, _PER_SHIFT, _PER_SPREAD = 2.5, 0.25, 10.0  # pixels; per pixel of the shift; per standard deviation


class MovedZones:
    """What is hidden of each picture while the camera stays as it is.

    Args:
        visible: H x W, uint8, of the matcher's size: 1 for what may be shown
    """

    def __init__(self, visible: NDArray[Any]) -> None:
        self.visible = visible

    def hide(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """A picture with all that is hidden black, read-only."""
        size = pixels.shape[1], pixels.shape[0]
        shown = cv2.bitwise_and(
            pixels, pixels, mask=cv2.resize(self.visible, size, interpolation=cv2.INTER_NEAREST_EXACT)
        )
        shown.flags.writeable = False
        return shown


def follow_zones(matcher: ViewMatcher, motion: ViewMotion) -> MovedZones | None:
    """The zones where a motion has put them; None: the motion is too large, or not sure enough."""
    growth = measure_growth(matcher, motion)
    if motion.share < FOLLOW_SHARE or matcher.measure_shift(motion.matrix) > MAX_SHIFT or growth > MAX_GROWTH:
        return None
    matrix = matcher.to_pixels @ motion.matrix @ np.linalg.inv(matcher.to_pixels)
    moved = cv2.warpPerspective(1 - matcher.hidden, matrix, matcher.size, flags=cv2.INTER_NEAREST)
    kernel = np.ones((2 * int(np.ceil(growth)) + 3,) * 2, np.uint8)  # a pixel more than the growth, for rounding
    return MovedZones(cv2.erode(moved, kernel))


def measure_growth(matcher: ViewMatcher, motion: ViewMotion) -> float:
    """By how many pixels zones grow: what is not sure of a motion at their edges."""
    places = matcher.levels[-1].to_places(matcher.edges)
    spread = float(measure_spread(motion.covariance, places).max()) * matcher.levels[-1].half
    models = matcher.measure_shift(motion.matrix, motion.simple)
    return _GROWTH + growth_beyond(matcher.measure_shift(motion.matrix), spread, models)


def growth_beyond(shift: float, spread: float, models: float) -> float:
    """What is added to the least growth, in pixels.

    Args:
        shift: of the zones, pixels
        spread: standard deviation of the motion at their edges, pixels; of neighboring pixels as if independent
        models: how far apart a similarity and a homography put the zones, pixels
    """
    return _PER_SHIFT * shift + _PER_SPREAD * spread + models


def describe_motion(motion: ViewMotion) -> dict[str, float]:
    """A motion as the facts of an event: shares of the longer side to the right and down, degrees, and a factor."""
    (a, _, right), (b, _, down), _ = motion.simple.tolist()
    return {
        "right": round(right / 2, 4),
        "down": round(down / 2, 4),
        "angle": round(float(np.degrees(np.arctan2(b, a))), 2),
        "scale": round(float(np.hypot(a, b)), 4),
    }
