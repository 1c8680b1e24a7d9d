"""One camera's own tables in its file: what nobody may see of its picture, when it is looked at, when it is not well.

They stand apart from the parts that go by them, so that reading a file needs no library for pictures.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Annotated

import msgspec

Point = tuple[float, float]
_LEAST = 1e-6  # of the picture; less is no area
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

    zones: tuple[tuple[Point, ...], ...] = ()
    """Polygons; points are [x, y], fractions 0…1 of the picture's width and height, from the top left."""

    def __post_init__(self) -> None:
        for number, zone in enumerate(self.zones):
            if wrong := _fault(zone):
                raise ValueError(f"zones[{number}]: {wrong}")


def _fault(zone: tuple[Point, ...]) -> str:
    """Why it is no polygon; empty where it is one."""
    if len(zone) < 3:
        return f"{len(zone)} points, and a polygon has at least three"
    for x, y in zone:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            return f"[{x:g}, {y:g}] is outside the picture, whose points are 0…1"
    edges = list(pairwise((*zone, zone[0])))
    for (first, one), (second, other) in combinations(enumerate(edges), 2):
        adjoin = second - first == 1 or (first == 0 and second == len(edges) - 1)
        if not adjoin and _meet(*one, *other):
            return f"the edges from {list(one[0])} and from {list(other[0])} cross; give the points in order around it"
    if abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in edges)) < 2 * _LEAST:
        return "it encloses nothing: its points lie on one line"
    return ""


def _side(point: Point, start: Point, end: Point) -> float:
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the segments ab and cd have a point in common."""
    straddles = _side(a, c, d) * _side(b, c, d) <= 0 and _side(c, a, b) * _side(d, a, b) <= 0
    return straddles and all(
        max(min(a[axis], b[axis]), min(c[axis], d[axis])) <= min(max(a[axis], b[axis]), max(c[axis], d[axis]))
        for axis in (0, 1)
    )
