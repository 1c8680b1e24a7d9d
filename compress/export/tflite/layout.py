"""In which order the axes of a tensor lie in the file.

ONNX has features as N x C x H x W, TFLite's kernels want N x H x W x C. So each tensor of the file has an *order*: its
n-th axis there is the order's n-th axis in ONNX. Four axes lie as (0, 2, 3, 1) unless something else is cheaper: a
transposition only relabels axes, and a reshape that divides or merges neighbours is one in either order. Whoever needs
an axis in its usual place asks for it, and only then are bytes moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

Order = tuple[int, ...]
Shape = tuple[int, ...]


def usual(rank: int) -> Order:
    """The order that TFLite's kernels expect."""
    return (0, 2, 3, 1) if rank == 4 else tuple(range(rank))


def laid(values: Sequence[int], order: Order) -> Shape:
    """One value for each axis of ONNX, as they lie in the file."""
    return tuple(values[axis] for axis in order)


def moves(shape: Shape, before: Order, after: Order) -> bool:
    """Whether a tensor of `shape` has other bytes in another order: axes of one element may stand anywhere."""
    return _real(shape, before) != _real(shape, after)


def transposed(order: Order, perm: Sequence[int]) -> Order:
    """The same bytes, seen after ONNX has transposed the tensor by `perm`."""
    return tuple(list(perm).index(axis) for axis in order)


def reshaped(before: Shape, order: Order, after: Shape) -> Order | None:
    """The order in which a tensor of shape `before` and `order`, reshaped by ONNX to `after`, has the same bytes.

    None where there is none, because axes are merged that are no neighbours in this order.
    """
    sequence = _real(before, order)
    found: list[int] = []
    place = 0
    parts = _parts(before, after)
    while place < len(sequence):
        part = next((part for part in parts if part[0] and part[0][0] == sequence[place]), None)
        if part is None or sequence[place : place + len(part[0])] != part[0]:
            return None
        found += part[1]
        place += len(part[0])
    if _real(after, usual(len(after))) == found:
        return usual(len(after))
    return (*(axis for axis in range(len(after)) if axis not in found), *found)


def _real(shape: Shape, order: Order) -> list[int]:
    return [axis for axis in order if shape[axis] != 1]


def _parts(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of axes on either side that hold the same elements."""
    left = [axis for axis in range(len(before)) if before[axis] != 1]
    right = [axis for axis in range(len(after)) if after[axis] != 1]
    parts: list[tuple[list[int], list[int]]] = []
    while left or right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (more := prod(before[a] for a in ours) - prod(after[a] for a in theirs)) != 0:
            if more > 0:
                theirs.append(right.pop(0))
            else:
                ours.append(left.pop(0))
        parts.append((ours, theirs))
    return parts
