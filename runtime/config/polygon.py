"""Polygons in configuration files: points are [x, y], fractions 0…1 of the frame from the top left.

Plain arithmetic, so that checking a file needs no image library.
"""

from __future__ import annotations

from itertools import combinations, pairwise

Point = tuple[float, float]
Polygon = tuple[Point, ...]

MIN_AREA = 1e-6  # fraction of the frame; a smaller polygon encloses nothing


def describe_polygon_error(points: Polygon) -> str:
    """Describes why `points` are not a valid polygon; empty if they are valid."""
    if len(points) < 3:
        return f"{len(points)} points, and a polygon has at least three"
    for x, y in points:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            return f"[{x:g}, {y:g}] is outside the picture, whose points are 0…1"
    if crossed := find_self_intersection(points):
        first, second = map(list, crossed)
        return f"the edges from {first} and from {second} cross; give the points in order around it"
    if abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise((*points, points[0])))) < 2 * MIN_AREA:
        return "it encloses nothing: its points lie on one line"
    return ""


def find_self_intersection(points: Polygon) -> tuple[Point, Point] | None:
    """The start points of two edges that cross; None if no edges cross."""
    edges = list(pairwise((*points, points[0])))
    for (i, edge), (j, other_edge) in combinations(enumerate(edges), 2):
        adjacent = j - i == 1 or (i == 0 and j == len(edges) - 1)
        if not adjacent and segments_intersect(*edge, *other_edge):
            return edge[0], other_edge[0]
    return None


def side_of_line(point: Point, start: Point, end: Point) -> float:
    """Positive: the point is to the right of the direction from start to end, in the frame; 0: on the line."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def segments_intersect(a: Point, b: Point, c: Point, d: Point) -> bool:
    """True if the segments ab and cd have a point in common."""
    straddles = (
        side_of_line(a, c, d) * side_of_line(b, c, d) <= 0 and side_of_line(c, a, b) * side_of_line(d, a, b) <= 0
    )
    boxes = all(
        max(min(a[axis], b[axis]), min(c[axis], d[axis])) <= min(max(a[axis], b[axis]), max(c[axis], d[axis]))
        for axis in (0, 1)
    )
    return straddles and boxes
