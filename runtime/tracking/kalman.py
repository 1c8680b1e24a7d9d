"""Where a box is and where it goes: a Kalman filter that assumes constant velocity (SORT, arXiv 1602.00763).

Its state is the centre, width and height, and the velocity of the centre; the size has none, it only drifts. Each of
the four is independent of the others, so that the filter is four of two numbers each, worked out side by side:

    predict    x += v·dt                        P = F·P·Fᵀ + Q(dt)
    update     x, v += gain · (seen − x)        P = (1 − gain)·P

Noise grows with seconds, not with frames, so that a camera of 5 frames a second, one of 30, and one that drops some are
all followed alike. It is a share of the box's own height, as in ByteTrack, because what is near moves by more of the
picture. The shares below are for people and cars that keep their pace within a second: whoever turns on his heel is
predicted wrongly for a few frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# Standard deviations as shares of the box's height. ByteTrack has 1/20 for the position; a new thing may walk at
# about its height a second, and change by as much within one.
_SEEN = 0.05
_SPEED = 1.0
_PUSH = 1.0  # of the velocity, for each square root of a second
_DRIFT = 0.15  # of the size, likewise
_MOVES = np.array([1.0, 1.0, 0.0, 0.0])  # the centre has a velocity, the size has none


class Motion:
    """One box; lengths are in heights of the picture."""

    def __init__(self, box: Vector) -> None:
        """`box`: left, top, right, bottom."""
        self.x = _centred(box)
        self.v = np.zeros(4)
        noise = self.x[3] ** 2
        self.xx = np.full(4, _SEEN**2 * noise)
        self.xv = np.zeros(4)
        self.vv = _MOVES * _SPEED**2 * noise

    def predict(self, seconds: float) -> None:
        """Moves it on by `seconds`."""
        scale = self.x[3] ** 2
        push, drift = _MOVES * _PUSH**2 * scale, (1 - _MOVES) * _DRIFT**2 * scale
        self.x = self.x + self.v * seconds
        self.xx = self.xx + 2 * seconds * self.xv + seconds**2 * self.vv + push * seconds**3 / 3 + drift * seconds
        self.xv = self.xv + seconds * self.vv + push * seconds**2 / 2
        self.vv = self.vv + push * seconds

    def update(self, box: Vector) -> None:
        """Corrects it by where it is seen."""
        off = _centred(box) - self.x
        spread = self.xx + _SEEN**2 * self.x[3] ** 2
        near, pace = self.xx / spread, self.xv / spread
        self.x, self.v = self.x + near * off, self.v + pace * off
        self.vv = self.vv - pace * self.xv
        self.xx, self.xv = (1 - near) * self.xx, (1 - near) * self.xv

    @property
    def box(self) -> Vector:
        """Left, top, right, bottom."""
        middle, half = self.x[:2], np.maximum(self.x[2:], 0) / 2
        return np.concatenate([middle - half, middle + half])


def _centred(box: NDArray[Any]) -> Vector:
    """Centre x and y, width, height."""
    size = box[2:] - box[:2]
    return np.concatenate([box[:2] + size / 2, size]).astype(np.float64)
