"""Activation ranges by calibration: minmax, percentile, MSE and entropy; values outside a range are clamped.

A wide range has coarse steps. A narrow range clamps rare values that may matter. All methods use one histogram per
tensor over the calibration images:

    minmax      the smallest and the largest value: no value is clamped
    percentile  the range that holds the given percentage of the values: half of the rest is clamped at each end
    mse         the range with the smallest mean square error of rounding and clamping
    entropy     the range whose integers best reproduce the distribution of the values: entropy_calibration.py

`minmax` is exact. The other methods have a resolution of 1/2048 of the full range. `mse` moves one end at a time, in
steps of 2 % of it, down to a quarter. The model outputs always have the full range: a finer step does not justify an
error in the ranking of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ...goal.recipe import RangeMethod
from ...graph.editing import copy_model, set_float_outputs
from ...graph.torch_module import CLIPPING_OPERATORS
from . import entropy_calibration

RANGE_METHODS = get_args(RangeMethod)
HISTOGRAM_BINS = 2048
LEVELS = 256
_SHRINK_FACTORS = np.arange(1.0, 0.24, -0.02)

Range = tuple[float, float]


def measure_ranges(
    model: onnx.ModelProto,
    feeds: Sequence[Mapping[str, NDArray[Any]]],
    method: RangeMethod,
    percentile: float,
    full_range_tensors: Collection[str],
) -> dict[str, Range]:
    """Measures the range of each node output of the float `model`.

    Args:
        model: float model
        feeds: model inputs, one per image
        method: method that chooses the range
        percentile: percentage of the values inside the range, for the method `percentile`
        full_range_tensors: names of tensors that keep the full range
    """
    probe = copy_model(model)
    names = list(dict.fromkeys(name for node in model.graph.node for name in node.output if name))
    set_float_outputs(probe.graph, names)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    ranges = dict.fromkeys(names, (0.0, 0.0))
    for feed in feeds:
        for name, values in zip(names, session.run(names, feed), strict=True):
            low, high = ranges[name]
            ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
    if method == "minmax":
        return ranges

    clipped = {node.input[0] for node in model.graph.node if node.op_type in CLIPPING_OPERATORS}
    histogram_tensors = [
        name for name in names if name not in clipped.union(full_range_tensors) and ranges[name][1] > ranges[name][0]
    ]
    counts = {name: np.zeros(HISTOGRAM_BINS, np.int64) for name in histogram_tensors}
    for feed in feeds:
        for name, values in zip(histogram_tensors, session.run(histogram_tensors, feed), strict=True):
            low, high = ranges[name]
            bins = ((values.ravel() - np.float32(low)) * np.float32((HISTOGRAM_BINS - 1e-3) / (high - low))).astype(
                np.int32
            )
            counts[name] += np.bincount(bins.clip(0, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS)
    for name in histogram_tensors:
        ranges[name] = choose_range(counts[name], ranges[name], method, percentile)
    return ranges


def choose_range(counts: NDArray[Any], full_range: Range, method: RangeMethod, percentile: float) -> Range:
    """Returns the range for a histogram `counts` of equal bins over `full_range`, which includes 0."""
    low, high = full_range
    edges = np.linspace(low, high, len(counts) + 1)
    if method == "minmax":
        return full_range
    if method == "percentile":
        clamped_count = (1 - percentile / 100) / 2 * counts.sum()
        first = int(np.searchsorted(np.cumsum(counts), clamped_count, side="right"))
        last = int(np.searchsorted(np.cumsum(counts[::-1]), clamped_count, side="right"))
        return min(float(edges[first]), 0.0), max(float(edges[len(counts) - last]), 0.0)
    if method == "entropy":
        return entropy_calibration.choose_entropy_range(counts, low, high)
    centers = (edges[1:] + edges[:-1]) / 2
    high = _best_end(
        [high * factor for factor in _SHRINK_FACTORS], lambda end: _mean_square_error(counts, centers, low, end)
    )
    low = _best_end(
        [low * factor for factor in _SHRINK_FACTORS], lambda end: _mean_square_error(counts, centers, end, high)
    )
    return low, high


def _best_end(ends: list[float], loss: Callable[[float], float]) -> float:
    return min(ends, key=loss) if ends[0] != ends[-1] else ends[0]


def _mean_square_error(counts: NDArray[Any], centers: NDArray[Any], low: float, high: float) -> float:
    """Returns the mean square error of rounding and clamping, times the number of values."""
    scale = (high - low) / (LEVELS - 1)
    inside = centers.clip(low, high)
    # Values are uniform within a step: the rounding error is step^2 / 12, independent of the bin center.
    return float((counts * ((centers - inside) ** 2 + scale**2 / 12 * (centers == inside))).sum())
