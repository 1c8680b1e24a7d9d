"""Copies and near copies.

A copy has the same pixels, whatever its file is. A near copy is the same picture saved again, scaled, brightened, with
noise or a little blur, or the camera's next shot of a part that has not moved. Two things must hold: the perceptual
hashes differ in few bits, and so do the pictures once what all of the set have in common is taken away. The second is
what counts in a factory: cells, screws and biscuits before a still camera resemble each other so much that hash and
picture alone call half a set copies. What is common is the median of the set's detail; the rest is correlated.

Embeddings are not asked: of 901 solar cells the nearest other cell lies at 0.28 of the typical distance (median), a
JPEG copy at 0.46. Pictures that are moved, cropped, turned or mirrored are other pictures to this measure: crops by 2 %
and shifts by 1 % are not recognised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .findings import Finding
from .image_checks import Look

BITS = 14  # of 256; of 901 different solar cells no two that passed CORRELATION were nearer than 18
CORRELATION = 0.97
_ENOUGH = 10  # images that a median means something of
_ROWS = 512


def find(looks: Sequence[Look]) -> Iterator[Finding]:
    """One finding for each image that repeats an earlier one; where labels contradict each other it says so."""
    originals: dict[bytes, list[int]] = {}
    for number, each in enumerate(looks):
        originals.setdefault(each.digest, []).append(number)
    for same in originals.values():
        for number in same[1:]:
            yield _copy(looks, number, same)

    first = [same[0] for same in originals.values()]
    earlier: dict[int, list[tuple[int, int]]] = {}
    for one, other, bits in _near([looks[number] for number in first]):
        earlier.setdefault(first[other], []).append((first[one], bits))
    for number, found in earlier.items():
        yield _near_copy(looks, number, found)


def _copy(looks: Sequence[Look], number: int, same: list[int]) -> Finding:
    here = looks[number]
    against = [looks[each] for each in same if looks[each].label != here.label]
    why = f"the same picture is labelled {against[0].label}" if against else "it is a copy"
    return Finding(
        kind="duplicate",
        file=here.path,
        label=here.label,
        measure="differing pixels",
        value=0,
        threshold=0,
        why=why,
        others=tuple(looks[each].path for each in same if each != number) if against else (looks[same[0]].path,),
        breaks=bool(against),
    )


def _near_copy(looks: Sequence[Look], number: int, found: list[tuple[int, int]]) -> Finding:
    here = looks[number]
    labels = sorted({looks[other].label for other, _ in found} - {here.label})
    why = f"nearly the same picture is labelled {', '.join(labels)}" if labels else "it is nearly a copy"
    return Finding(
        kind="near_duplicate",
        file=here.path,
        label=here.label,
        measure="bits of the perceptual hash that differ",
        value=min(bits for _, bits in found),
        threshold=BITS,
        why=why,
        others=tuple(looks[other].path for other, _ in found),
    )


def _near(looks: Sequence[Look]) -> Iterator[tuple[int, int, int]]:
    """Pairs of near copies, the earlier first, and by how many bits their hashes differ."""
    if len(looks) < 2:
        return
    signs = np.stack([each.hash for each in looks]).astype(np.float32) * 2 - 1
    rest = _rest(np.stack([each.detail.ravel() for each in looks]))
    for start in range(0, len(looks), _ROWS):
        bits = (signs.shape[1] - signs[start : start + _ROWS] @ signs.T) / 2
        for row, other in np.argwhere(bits <= BITS):
            one = start + int(row)
            if one < other and float(rest[one] @ rest[other]) >= CORRELATION:
                yield one, int(other), int(bits[row, other])


def _rest(details: NDArray[Any]) -> NDArray[Any]:
    """What distinguishes each picture from the set, as a vector of length 1; nothing where it has no detail."""
    if len(details) >= _ENOUGH:
        details = details - np.median(details, axis=0)
    length = np.linalg.norm(details, axis=1, keepdims=True)
    return np.where(length > 1.0, details / np.maximum(length, 1e-6), 0.0)
