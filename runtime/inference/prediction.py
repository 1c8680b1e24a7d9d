"""One prediction: an object, a class or an anomaly that the model found in a frame."""

from __future__ import annotations

import msgspec

from ..config.polygon import Point

PART_NOT_FOUND = "error"  # label of the prediction for a frame in which the part was not found


class Box(msgspec.Struct, frozen=True):
    """A rectangle, as fractions 0…1 of the frame's width and height."""

    left: float
    top: float
    right: float
    bottom: float


def foot_point(box: Box) -> Point:
    """Where an object stands: the middle of the lower edge of its box, clipped to the frame."""
    x = (box.left + box.right) / 2
    return min(max(x, 0.0), 1.0), min(max(box.bottom, 0.0), 1.0)


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """A detected object, a class or an anomaly."""

    label: str
    score: float
    """In the model's own unit; comparable with the bundle's threshold."""
    box: Box | None = None
    """None: the whole frame."""
    track: int | None = None
    """Track number, if a tracker assigned one."""
    p_value: float | None = None
    """Anomalies: the expected share of good parts with at least this score; None: the bundle does not say."""
    area: str | None = None
    """Anomalies: the area of the part (`inspect.areas` of the bundle) that the score comes from; None: no such area."""
