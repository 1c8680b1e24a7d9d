"""Between which values an activation is counted: everything that lies outside is clamped.

A wide range has coarse steps, a narrow one cuts off what is rare and perhaps matters. Ways to choose, all from one
histogram per tensor over the calibration images:

    minmax      the smallest and the largest value that was seen: nothing is cut off
    percentile  what holds all but a few values: half of the rest is cut off at each end
    mse         where the mean square of what rounding and clamping change is least
    entropy     whose integers are spread most as the values are: entropy.py

The first is exact. The others know a value to a 2048th of the range that was seen. `mse` moves one end at
a time, in steps of 2 % of it, down to a quarter. What the model gives out always has the whole range: which score
is highest is not worth a finer step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from . import entropy_calibration

Ranges = Literal["minmax", "percentile", "mse", "entropy"]
KINDS = get_args(Ranges)
BINS = 2048
STEPS = 256
_NARROWER = np.arange(1.0, 0.24, -0.02)

Range = tuple[float, float]


def observed(
    model: onnx.ModelProto,
    feeds: Sequence[Mapping[str, NDArray[Any]]],
    kind: Ranges,
    percentile: float,
    ends: Collection[str],
) -> dict[str, Range]:
    """The range of each tensor that a node of the float `model` makes.

    Args:
        model: float
        feeds: its inputs, for one image each
        kind: how the range is chosen
        percentile: share of the values that stay, in per cent, for the kind of that name
        ends: tensors that have the whole range
    """
    opened = onnx.ModelProto.FromString(model.SerializeToString())
    names = list(dict.fromkeys(name for node in model.graph.node for name in node.output if name))
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict.fromkeys(names, (0.0, 0.0))
    for feed in feeds:
        for name, values in zip(names, session.run(names, feed), strict=True):
            low, high = found[name]
            found[name] = min(low, float(values.min())), max(high, float(values.max()))
    if kind == "minmax":
        return found

    clipped = {node.input[0] for node in model.graph.node if node.op_type in ("Clip", "Relu")}
    wanted = [name for name in names if name not in clipped.union(ends) and found[name][1] > found[name][0]]
    counts = {name: np.zeros(BINS, np.int64) for name in wanted}
    for feed in feeds:
        for name, values in zip(wanted, session.run(wanted, feed), strict=True):
            low, high = found[name]
            places = ((values.ravel() - np.float32(low)) * np.float32((BINS - 1e-3) / (high - low))).astype(np.int32)
            counts[name] += np.bincount(places.clip(0, BINS - 1), minlength=BINS)
    for name in wanted:
        found[name] = chosen(counts[name], found[name], kind, percentile)
    return found


def chosen(counts: NDArray[Any], seen: Range, kind: Ranges, percentile: float) -> Range:
    """The range for values of which `counts` lie in each of as many equal parts of the range `seen`, zero in it."""
    low, high = seen
    edges = np.linspace(low, high, len(counts) + 1)
    if kind == "minmax":
        return seen
    if kind == "percentile":
        cut = (1 - percentile / 100) / 2 * counts.sum()
        first = int(np.searchsorted(np.cumsum(counts), cut, side="right"))
        last = int(np.searchsorted(np.cumsum(counts[::-1]), cut, side="right"))
        return min(float(edges[first]), 0.0), max(float(edges[len(counts) - last]), 0.0)
    if kind == "entropy":
        return entropy_calibration.cut(counts, low, high)
    centres = (edges[1:] + edges[:-1]) / 2
    high = _least([high * each for each in _NARROWER], lambda end: _squares(counts, centres, low, end))
    low = _least([low * each for each in _NARROWER], lambda end: _squares(counts, centres, end, high))
    return low, high


def _least(ends: list[float], loss: Callable[[float], float]) -> float:
    return min(ends, key=loss) if ends[0] != ends[-1] else ends[0]


def _squares(counts: NDArray[Any], centres: NDArray[Any], low: float, high: float) -> float:
    """Mean square of what is lost."""
    scale = (high - low) / (STEPS - 1)
    inside = centres.clip(low, high)
    # Within a step a value lies anywhere: its rounding costs a twelfth of the step squared, whatever its bin's centre.
    return float((counts * ((centres - inside) ** 2 + scale**2 / 12 * (centres == inside))).sum())
