"""Order of a tensor's axes in the TFLite file.

ONNX has features as N x C x H x W; TFLite's kernels expect N x H x W x C. So each tensor of the file has an *order*:
axis n of the file's tensor is axis order[n] of the ONNX tensor. Four axes are stored as (0, 2, 3, 1) unless another
order is cheaper: a transposition only relabels axes, and a reshape that splits or merges neighboring axes keeps the
bytes in either order. An operator that needs the default order asks for it, and only then are bytes moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

AxisOrder = tuple[int, ...]
Shape = tuple[int, ...]


def default_order(rank: int) -> AxisOrder:
    """The order that TFLite's kernels expect for a tensor of `rank` axes."""
    return (0, 2, 3, 1) if rank == 4 else tuple(range(rank))


def permute_axes(values: Sequence[int], order: AxisOrder) -> Shape:
    """One value per ONNX axis, permuted to the order of the file."""
    return tuple(values[axis] for axis in order)


def changes_bytes(shape: Shape, before: AxisOrder, after: AxisOrder) -> bool:
    """Whether a tensor of `shape` has other bytes in order `after`; axes of size 1 do not matter."""
    return _axes_without_ones(shape, before) != _axes_without_ones(shape, after)


def transpose_order(order: AxisOrder, perm: Sequence[int]) -> AxisOrder:
    """The order in which the transposed tensor has the bytes that the tensor has in `order`."""
    return tuple(list(perm).index(axis) for axis in order)


def reshape_order(before: Shape, order: AxisOrder, after: Shape) -> AxisOrder | None:
    """The order in which a reshaped tensor has the same bytes.

    Args:
        before: shape before the reshape, in ONNX
        order: order before the reshape
        after: shape after the reshape, in ONNX

    Returns:
        The order after the reshape; None if the reshape merges axes that are no neighbors in `order`.
    """
    sequence = _axes_without_ones(before, order)
    new_axes: list[int] = []
    position = 0
    groups = _group_matching_axes(before, after)
    while position < len(sequence):
        group = next((group for group in groups if group[0] and group[0][0] == sequence[position]), None)
        if group is None or sequence[position : position + len(group[0])] != group[0]:
            return None
        new_axes += group[1]
        position += len(group[0])
    if _axes_without_ones(after, default_order(len(after))) == new_axes:
        return default_order(len(after))
    return (*(axis for axis in range(len(after)) if axis not in new_axes), *new_axes)


def order_for_interleaved_slices(shape: Shape, order: AxisOrder) -> AxisOrder:
    """The order in which to take every n-th element, or a single one, of the last axis in `order`.

    A channel shuffle takes every other channel. In the order of ONNX a channel is one run of bytes, and a transposition
    of two axes is fast; where channels are last, single bytes would change places.
    """
    in_onnx = tuple(range(len(shape)))
    return in_onnx if prod(shape[order[-1] + 1 :]) > 1 else order


def _axes_without_ones(shape: Shape, order: AxisOrder) -> list[int]:
    """The axes of more than one element, in `order`."""
    return [axis for axis in order if shape[axis] != 1]


def _group_matching_axes(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """The smallest groups of axes before and after a reshape that hold the same elements, without axes of size 1."""
    left = [axis for axis in range(len(before)) if before[axis] != 1]
    right = [axis for axis in range(len(after)) if after[axis] != 1]
    groups: list[tuple[list[int], list[int]]] = []
    while left or right:
        left_group, right_group = [left.pop(0)], [right.pop(0)]
        while (excess := prod(before[a] for a in left_group) - prod(after[a] for a in right_group)) != 0:
            if excess > 0:
                right_group.append(right.pop(0))
            else:
                left_group.append(left.pop(0))
        groups.append((left_group, right_group))
    return groups
