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
    opened = copy_model(model)
    names = list(dict.fromkeys(name for node in model.graph.node for name in node.output if name))
    set_float_outputs(opened.graph, names)
    session = onnxruntime.InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict.fromkeys(names, (0.0, 0.0))
    for feed in feeds:
        for name, values in zip(names, session.run(names, feed), strict=True):
            low, high = found[name]
            found[name] = min(low, float(values.min())), max(high, float(values.max()))
    if method == "minmax":
        return found

    clipped = {node.input[0] for node in model.graph.node if node.op_type in ("Clip", "Relu")}
    wanted = [
        name for name in names if name not in clipped.union(full_range_tensors) and found[name][1] > found[name][0]
    ]
    counts = {name: np.zeros(HISTOGRAM_BINS, np.int64) for name in wanted}
    for feed in feeds:
        for name, values in zip(wanted, session.run(wanted, feed), strict=True):
            low, high = found[name]
            places = ((values.ravel() - np.float32(low)) * np.float32((HISTOGRAM_BINS - 1e-3) / (high - low))).astype(
                np.int32
            )
            counts[name] += np.bincount(places.clip(0, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS)
    for name in wanted:
        found[name] = choose_range(counts[name], found[name], method, percentile)
    return found


def choose_range(counts: NDArray[Any], full_range: Range, method: RangeMethod, percentile: float) -> Range:
    """Returns the range for a histogram `counts` of equal bins over `full_range`, which includes 0."""
    low, high = full_range
    edges = np.linspace(low, high, len(counts) + 1)
    if method == "minmax":
        return full_range
    if method == "percentile":
        cut = (1 - percentile / 100) / 2 * counts.sum()
        first = int(np.searchsorted(np.cumsum(counts), cut, side="right"))
        last = int(np.searchsorted(np.cumsum(counts[::-1]), cut, side="right"))
        return min(float(edges[first]), 0.0), max(float(edges[len(counts) - last]), 0.0)
    if method == "entropy":
        return entropy_calibration.choose_entropy_range(counts, low, high)
    centres = (edges[1:] + edges[:-1]) / 2
    high = _best_end(
        [high * each for each in _SHRINK_FACTORS], lambda end: _mean_square_error(counts, centres, low, end)
    )
    low = _best_end(
        [low * each for each in _SHRINK_FACTORS], lambda end: _mean_square_error(counts, centres, end, high)
    )
    return low, high


def _best_end(ends: list[float], loss: Callable[[float], float]) -> float:
    return min(ends, key=loss) if ends[0] != ends[-1] else ends[0]


def _mean_square_error(counts: NDArray[Any], centres: NDArray[Any], low: float, high: float) -> float:
    """Returns the mean square error of rounding and clamping, times the number of values."""
    scale = (high - low) / (LEVELS - 1)
    inside = centres.clip(low, high)
    # Values are uniform within a step: the rounding error is step^2 / 12, independent of the bin center.
    return float((counts * ((centres - inside) ** 2 + scale**2 / 12 * (centres == inside))).sum())
