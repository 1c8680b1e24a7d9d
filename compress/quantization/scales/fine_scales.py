"""Output scales that are too fine for the accumulators behind them.

A convolution multiplies its accumulators by input scale * weight scale / output scale. Where calibration images leave
an output almost constant (components without variance over few images), its range says little, and this factor grows:
at 256, LiteRT refuses the file, and one step of the accumulator fills the whole range of the output. From MAX_FACTOR
on, the steps of the output become those of its coarsest channel's accumulator, so nothing is rounded away. Operators
that copy or add such a tensor get at least its range.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from ...graph.editing import map_initializers
from .activation_ranges import Range

MAX_FACTOR = 64.0  # a quarter of what LiteRT refuses: scales shared later may differ from the ranges here
_LAYERS, _FOLLOWERS = ("Conv", "Gemm", "MatMul"), ("Add", "Sub", "Resize", "Reshape", "Transpose", "Gather", "Slice")


def widen_fine_ranges(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges that replace those of outputs too fine, and of what copies or adds them; mostly none.

    Args:
        model: float model, its nodes in order
        ranges: range of the input and of each node output
    """
    constants, widened = map_initializers(model.graph), dict[str, Range]()

    def span(name: str) -> float:
        low, high = widened.get(name, ranges.get(name, (0.0, 0.0)))
        return max(high, 0.0) - min(low, 0.0)

    for node in model.graph.node:
        output = node.output[0]
        if output not in ranges:
            continue
        needed = 0.0
        if node.op_type in _LAYERS and len(node.input) > 1 and node.input[1] in constants:
            largest = float(np.abs(numpy_helper.to_array(constants[node.input[1]])).max())
            needed = span(node.input[0]) * largest / 127  # of 255 steps of the accumulator
            if needed < MAX_FACTOR * span(output):
                needed = 0.0
        elif node.op_type in _FOLLOWERS:
            needed = max((span(name) for name in node.input if name in widened), default=0.0)
        if needed > span(output):
            widened[output] = -needed / 2, needed / 2
    return widened
