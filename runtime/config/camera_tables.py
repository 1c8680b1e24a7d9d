"""The tables `[health]`, `[gate]` and `[privacy]` of a camera's file.

They are separate from the code that uses them, so that reading a configuration needs no image library.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .polygon import Polygon, describe_polygon_error

_FaultSeconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]


class HealthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[health]`: seconds for which a fault must last before it is reported; 0: it is never reported.

    Recordings are not checked.
    """

    stalled: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 5.0
    """No frame comes. The capture process is then restarted."""
    frozen: _FaultSeconds = 10.0
    """All frames are identical, bit for bit."""
    dark: _FaultSeconds = 10.0
    bright: _FaultSeconds = 10.0
    blurred: _FaultSeconds = 20.0
    moved: _FaultSeconds = 20.0
    """The camera shows another scene than before."""
    recovered: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 3.0
    """Seconds without a fault before `recovered` is reported."""


class MotionGateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[gate]`: the motion gate, which skips inference while nothing moves."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    """Maximum time in seconds between inferred frames; 0: every frame is inferred."""
    threshold: Annotated[float, msgspec.Meta(ge=1, le=255)] = 12.0
    """Difference in gray levels from which a cell counts as moved."""
    cells: Annotated[int, msgspec.Meta(ge=1, le=14400)] = 8
    """Number of moved cells, of 160 x 90, that opens the gate."""


class PrivacySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[privacy]`: zones that are blacked out before any code, the model included, reads the frame, faces, plates."""

    zones: tuple[Polygon, ...] = ()
    """Polygons; points are [x, y], fractions 0…1 of the frame's width and height, from the top left."""
    faces: Literal["auto", "hide", "show"] = "auto"
    """Whether evidence may show faces; `auto`: not if the bundle has the label `person`, or is about behaviour."""
    number_plates: Literal["auto", "hide", "show"] = "auto"
    """Whether evidence may show number plates; `auto`: not if the bundle has the label of a vehicle."""

    moved: Literal["hide", "ignore"] = "hide"
    """If the camera was moved: `hide` lets zones follow, or shows no picture; `ignore` leaves them where they are."""

    def __post_init__(self) -> None:
        for number, zone in enumerate(self.zones):
            if error := describe_polygon_error(zone):
                raise ValueError(f"zones[{number}]: {error}")
