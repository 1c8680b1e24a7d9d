"""Polygons as a person writes them: points are [x, y], fractions 0…1 of the picture from the top left.

Plain arithmetic, so that checking a file needs no library for pictures.
"""

from __future__ import annotations

from itertools import combinations, pairwise

Point = tuple[float, float]
Polygon = tuple[Point, ...]

_LEAST = 1e-6  # of the picture; less is no area


def fault(points: Polygon) -> str:
    """Why they are no polygon; empty where they are one."""
    if len(points) < 3:
        return f"{len(points)} points, and a polygon has at least three"
    for x, y in points:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            return f"[{x:g}, {y:g}] is outside the picture, whose points are 0…1"
    if crossed := knot(points):
        one, other = map(list, crossed)
        return f"the edges from {one} and from {other} cross; give the points in order around it"
    if abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise((*points, points[0])))) < 2 * _LEAST:
        return "it encloses nothing: its points lie on one line"
    return ""


def knot(points: Polygon) -> tuple[Point, Point] | None:
    """Where two edges that cross each other start; None where none do."""
    edges = list(pairwise((*points, points[0])))
    for (first, one), (second, other) in combinations(enumerate(edges), 2):
        adjoin = second - first == 1 or (first == 0 and second == len(edges) - 1)
        if not adjoin and meet(*one, *other):
            return one[0], other[0]
    return None


def side(point: Point, start: Point, end: Point) -> float:
    """Above 0: to the right of who walks from start to end, as the picture shows it; 0: on the line; else left."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the segments ab and cd have a point in common."""
    straddles = side(a, c, d) * side(b, c, d) <= 0 and side(c, a, b) * side(d, a, b) <= 0
    boxes = all(
        max(min(a[axis], b[axis]), min(c[axis], d[axis])) <= min(max(a[axis], b[axis]), max(c[axis], d[axis]))
        for axis in (0, 1)
    )
    return straddles and boxes
