"""What a person may say about the tracker: `[tracker]` in the camera's file."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Fraction = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class TrackerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[tracker]`. It works only where a rule needs it."""

    high_score: float | None = None
    """A detection at or above it may begin a track; None: the bundle's threshold."""
    low_score: float | None = None
    """One at or above it may go on with a track that is there; None: half of `high_score`."""
    iou: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2
    """Least overlap, as intersection over union, of a detection with where its track should be."""
    buffer: _Fraction = 0.3
    """Of its size: by so much each box is grown at every side before overlap is measured, where a track was last seen
    0.2 s ago or longer; by less where it is more recent."""
    keep: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0
    """Seconds for which a track that nobody sees is waited for."""
    confirm: Annotated[int, msgspec.Meta(ge=1, le=100)] = 2
    """Frames in a row in which a new thing must be seen before it has a track."""
