"""The table `[tracker]` of a camera's file."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Fraction = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class TrackerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[tracker]`. The tracker runs only if a rule needs it."""

    high_score: float | None = None
    """A detection with at least this score may start a track; None: the bundle's threshold."""
    low_score: float | None = None
    """A detection with at least this score may continue a track; None: half of `high_score`."""
    iou: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2
    """Minimum IoU of a detection with the predicted box of its track."""
    buffer: _Fraction = 0.3
    """Fraction of its size by which each side of a box is extended before IoU is measured, if the track was last
    detected at least 0.2 s ago; less if it was detected more recently."""
    reach: Annotated[float, msgspec.Meta(ge=0, le=100)] = 3.0
    """How far a detection that overlaps with nothing may be from the predicted place of its track: longer edges of the
    box for each second since the track was last detected, counted up to half a second. A track that was missed in more
    than one frame is not looked for in this way; 0: overlap alone decides."""
    keep: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0
    """Seconds after which a track without detections ends."""
    confirm: Annotated[int, msgspec.Meta(ge=1, le=100)] = 2
    """Consecutive frames with a detection before an object gets a track."""
