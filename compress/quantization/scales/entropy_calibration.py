"""Entropy calibration: the range with the smallest Kullback-Leibler divergence of its integers from the float values.

The information of an activation is the distribution of its values. A histogram of the magnitudes is cut at many
positions, and the cut whose quantized copy diverges least from it is chosen (Migacz, "8-bit Inference with TensorRT",
2017):

    reference  all values beyond the cut are in the last bin, as after clamping
    copy       the values below the cut, merged into as many levels as there are integers; each level is spread evenly
               over its non-empty bins. The copy omits the values beyond the cut, and this is the penalty for clamping

Zeros carry no information. After a ReLU half of all values are exactly 0, and every range represents them exactly. In
the histogram they would outweigh the rest, and every cut would look harmless. The bin at zero therefore gets at most
the count of its neighbor. The copy is mixed with a small uniform distribution; otherwise one bin that is empty only in
the copy would make the divergence infinite.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 2048  # of the histogram of magnitudes
CUT_INTERVAL = 8  # bins between two cuts
LEVELS = 256
SMOOTHING = 1e-4


def choose_entropy_range(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """Returns the entropy range; `counts` is a histogram of equal bins over low…high, which includes 0."""
    largest = max(-low, high)
    magnitudes = _fold_histogram(counts, low, high, largest)
    magnitudes[0] = min(magnitudes[0], magnitudes[1])
    if not magnitudes.any():
        return low, high
    smallest_divergence, best_end = np.inf, BINS
    for end in range(LEVELS // 2, BINS + 1, CUT_INTERVAL):
        cut = largest * end / BINS
        width = min(cut, high) + min(cut, -low)
        divergence = _kl_divergence(magnitudes, end, max(2, round(LEVELS * cut / width)))
        if divergence <= smallest_divergence:  # among equal divergences, the widest range
            smallest_divergence, best_end = divergence, end
    cut = largest * best_end / BINS
    return max(low, -cut), min(high, cut)


def _fold_histogram(counts: NDArray[np.int64], low: float, high: float, largest: float) -> NDArray[np.float64]:
    """Returns the histogram of the magnitudes from 0 to `largest`; values are assumed uniform within a bin."""
    edges, cumulative = np.linspace(low, high, len(counts) + 1), np.r_[0.0, np.cumsum(counts)]
    ends = np.linspace(0, largest, BINS + 1)
    positive, negative = np.interp(ends, edges, cumulative), np.interp(-ends, edges, cumulative)
    return np.diff(positive) - np.diff(negative)


def _kl_divergence(magnitudes: NDArray[np.float64], end: int, levels: int) -> float:
    """Returns the divergence of the copy with `levels` levels from the reference that is cut before bin `end`."""
    inside = magnitudes[:end]
    reference = inside.copy()
    reference[-1] += magnitudes[end:].sum()
    occupied = inside > 0
    level = np.arange(end) * min(levels, end) // end
    level_mean = np.bincount(level, inside) / np.maximum(np.bincount(level, occupied), 1)
    copy = level_mean[level] * occupied
    filled = reference > 0
    if not copy.any():
        return np.inf
    p = reference[filled] / reference.sum()
    q = (1 - SMOOTHING) * copy[filled] / copy.sum() + SMOOTHING / filled.sum()
    return float((p * np.log(p / q)).sum())
