"""Directions of movement in the frame, measured in heights of the frame, which are equally long in x and y."""

from __future__ import annotations

from math import acos, degrees, hypot

from ...config.polygon import Point
from ...errors import ConfigProblem
from .region import check_inside_image


def movement_between(start: Point, end: Point, aspect: float) -> Point:
    """The movement from one point to another, in heights of the frame.

    Args:
        start: [x, y], fractions 0…1
        end: the same
        aspect: width of the frame divided by its height
    """
    return (end[0] - start[0]) * aspect, end[1] - start[1]


def angle_between(first: Point, second: Point) -> float:
    """The angle between two movements that are not zero, degrees."""
    cosine = (first[0] * second[0] + first[1] * second[1]) / (hypot(*first) * hypot(*second))
    return degrees(acos(min(max(cosine, -1.0), 1.0)))


def check_way(way: tuple[Point, Point]) -> None:
    """Raises ConfigProblem if the key `way` has no direction or lies outside of the frame."""
    check_inside_image(way, "way")
    if way[0] == way[1]:
        raise ConfigProblem("way: the two points are equal", hint="give the start and the end of the direction")
