"""One camera's own tables in its file: what nobody may see of its picture, when it is looked at, when it is not well.

They stand apart from the parts that go by them, so that reading a file needs no library for pictures.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from .polygon import Polygon, fault

_Span = Annotated[float, msgspec.Meta(ge=0, le=86400)]


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[health]` in a camera's file: how many seconds something is wrong before it is told; 0: it is never told.

    Recordings are not watched.
    """

    stalled: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 5.0
    """No picture comes. What reads the camera is then taken for stuck, and started anew."""
    frozen: _Span = 10.0
    """The same picture comes, bit by bit."""
    dark: _Span = 10.0
    bright: _Span = 10.0
    blurred: _Span = 20.0
    moved: _Span = 20.0
    """It shows another place than before."""
    recovered: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 3.0
    """How long all must be well again."""


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[gate]`: where nothing moves, nothing is inferred."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    """At least one picture in so many seconds is looked at; 0: all are."""
    threshold: Annotated[float, msgspec.Meta(ge=1, le=255)] = 12.0
    """Grey levels by which a cell of the small picture must differ to have moved."""
    cells: Annotated[int, msgspec.Meta(ge=1, le=14400)] = 8
    """So many of its 160 x 90 cells must have moved."""


class Privacy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[privacy]`: what is black before anybody sees the picture, the model included."""

    zones: tuple[Polygon, ...] = ()
    """Polygons; points are [x, y], fractions 0…1 of the picture's width and height, from the top left."""

    def __post_init__(self) -> None:
        for number, zone in enumerate(self.zones):
            if wrong := fault(zone):
                raise ValueError(f"zones[{number}]: {wrong}")
