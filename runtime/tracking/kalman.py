"""A Kalman filter for a box, with constant velocity (SORT, arXiv 1602.00763).

The state is the centre, width and height, and the velocity of the centre; the size drifts without a velocity. The four
are independent, so the filter is four filters of two numbers each, computed side by side:

    predict    x += v·dt                        P = F·P·Fᵀ + Q(dt)
    update     x, v += gain · (measured − x)        P = (1 − gain)·P

Noise grows with seconds, not with frames: 5 frames a second, 30, and dropped frames are tracked alike. It is a fraction
of the box's height, as in ByteTrack, because near objects move by more of the frame. The fractions below suit people
and cars that keep their velocity within a second; a person who turns round is predicted wrongly for a few frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# Standard deviations as fractions of the box's height. ByteTrack has 1/20 for the position; a new object may move at
# about its height a second, and change by as much within one.
_MEASUREMENT_NOISE = 0.05
_INITIAL_VELOCITY_NOISE = 1.0
_VELOCITY_NOISE = 1.0  # for each square root of a second
_SIZE_NOISE = 0.15  # for each square root of a second
_HAS_VELOCITY = np.array([1.0, 1.0, 0.0, 0.0])  # the centre has a velocity, the size has none


class BoxKalmanFilter:
    """The filter of one box; lengths are in heights of the frame."""

    def __init__(self, box: Vector) -> None:
        """`box`: left, top, right, bottom."""
        self.x = _to_center_and_size(box)
        self.v = np.zeros(4)
        noise = self.x[3] ** 2
        self.xx = np.full(4, _MEASUREMENT_NOISE**2 * noise)
        self.xv = np.zeros(4)
        self.vv = _HAS_VELOCITY * _INITIAL_VELOCITY_NOISE**2 * noise

    def predict(self, seconds: float) -> None:
        """Predicts the state `seconds` later."""
        scale = self.x[3] ** 2
        velocity_noise, size_noise = (
            _HAS_VELOCITY * _VELOCITY_NOISE**2 * scale,
            (1 - _HAS_VELOCITY) * _SIZE_NOISE**2 * scale,
        )
        self.x = self.x + self.v * seconds
        self.xx = (
            self.xx
            + 2 * seconds * self.xv
            + seconds**2 * self.vv
            + velocity_noise * seconds**3 / 3
            + size_noise * seconds
        )
        self.xv = self.xv + seconds * self.vv + velocity_noise * seconds**2 / 2
        self.vv = self.vv + velocity_noise * seconds

    def update(self, box: Vector) -> None:
        """Corrects the state by a detection."""
        residual = _to_center_and_size(box) - self.x
        innovation_variance = self.xx + _MEASUREMENT_NOISE**2 * self.x[3] ** 2
        gain, velocity_gain = self.xx / innovation_variance, self.xv / innovation_variance
        self.x, self.v = self.x + gain * residual, self.v + velocity_gain * residual
        self.vv = self.vv - velocity_gain * self.xv
        self.xx, self.xv = (1 - gain) * self.xx, (1 - gain) * self.xv

    @property
    def box(self) -> Vector:
        """Left, top, right, bottom."""
        center, half = self.x[:2], np.maximum(self.x[2:], 0) / 2
        return np.concatenate([center - half, center + half])


def _to_center_and_size(box: NDArray[Any]) -> Vector:
    """Centre x and y, width, height."""
    size = box[2:] - box[:2]
    return np.concatenate([box[:2] + size / 2, size]).astype(np.float64)
