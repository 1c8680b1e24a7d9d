"""The range whose integers tell most of what the values tell: the least Kullback-Leibler divergence.

What an activation says is how its values are spread. So a histogram of their magnitudes is cut at each of many places,
and the cut is taken whose quantised copy diverges least from it (Migacz, "8-bit Inference with TensorRT", 2017):

    reference  all that lies beyond the cut stands in the last bin, as clamping puts it there
    copy       what lies below the cut, merged into as many levels as there are integers, and each level spread evenly
               over those of its bins that hold anything; of the values beyond it knows nothing, and that is their price

Zeros are no information: behind a ReLU half of all values are 0 exactly and every range gives them back exactly, while
as part of the histogram they outweigh the rest, and a cut anywhere looks harmless. So the bin at zero is given the
count of its neighbour. The copy gets a trace of the even distribution, or a single bin that it leaves empty would make
any cut infinitely bad.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 2048  # of the magnitudes
STEP = 8  # bins between two cuts
LEVELS = 256
TRACE = 1e-4


def cut(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """The range for values of which `counts` lie in each of as many equal parts of low…high, zero in it."""
    reach = max(-low, high)
    folded = _magnitudes(counts, low, high, reach)
    folded[0] = min(folded[0], folded[1])
    if not folded.any():
        return low, high
    least, best = np.inf, BINS
    for end in range(LEVELS // 2, BINS + 1, STEP):
        most = reach * end / BINS
        spanned = min(most, high) + min(most, -low)
        diverged = _divergence(folded, end, max(2, round(LEVELS * most / spanned)))
        if diverged <= least:  # of equal ones the widest
            least, best = diverged, end
    most = reach * best / BINS
    return max(low, -most), min(high, most)


def _magnitudes(counts: NDArray[np.int64], low: float, high: float, reach: float) -> NDArray[np.float64]:
    """The histogram of the values without their signs, from 0 to `reach`; within a bin they are spread evenly."""
    edges, below = np.linspace(low, high, len(counts) + 1), np.r_[0.0, np.cumsum(counts)]
    ends = np.linspace(0, reach, BINS + 1)
    positive, negative = np.interp(ends, edges, below), np.interp(-ends, edges, below)
    return np.diff(positive) - np.diff(negative)


def _divergence(folded: NDArray[np.float64], end: int, levels: int) -> float:
    """Of the copy with so many levels from the reference that is cut before bin `end`."""
    inside = folded[:end]
    reference = inside.copy()
    reference[-1] += folded[end:].sum()
    held = inside > 0
    level = np.arange(end) * min(levels, end) // end
    each = np.bincount(level, inside) / np.maximum(np.bincount(level, held), 1)
    copy = each[level] * held
    filled = reference > 0
    if not copy.any():
        return np.inf
    p = reference[filled] / reference.sum()
    q = (1 - TRACE) * copy[filled] / copy.sum() + TRACE / filled.sum()
    return float((p * np.log(p / q)).sum())
