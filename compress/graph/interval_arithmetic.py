"""Interval arithmetic on an ONNX graph: between which values a tensor must lie, whatever the image.

Worked out backwards from an output to the Clip nodes that it depends on. Each step takes its inputs to be independent,
so the interval is never too narrow; behind many layers of weights it becomes too wide to be of use.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from vedette.runtime.errors import Problem

Interval = tuple[float, float]


def bounds(model: onnx.ModelProto, output: str) -> dict[str, Interval]:
    """The interval of `output` and of each tensor between it and the nearest Clip nodes.

    Raises:
        Problem: some path from `output` meets an operator without a rule before it meets a Clip.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    found: dict[str, Interval] = {}

    def interval(name: str) -> Interval:
        if name in constants:
            return float(constants[name].min()), float(constants[name].max())
        if name not in found:
            if name not in producers:
                raise Problem(f"nothing bounds {output!r}: it depends on {name!r} without a Clip between")
            found[name] = derive(producers[name])
        return found[name]

    def derive(node: onnx.NodeProto) -> Interval:
        if node.op_type == "Clip":
            return float(constants[node.input[1]]), float(constants[node.input[2]])
        low, high = interval(node.input[0])
        if node.op_type in ("Resize", "ReduceMax", "Concat"):
            others = [interval(name) for name in node.input[1:] if node.op_type == "Concat"]
            return min([low, *(each[0] for each in others)]), max([high, *(each[1] for each in others)])
        if node.op_type == "Mul" and node.input[0] == node.input[1]:
            return (0.0 if low <= 0 <= high else min(low**2, high**2)), max(low**2, high**2)
        if node.op_type == "Add":
            other = interval(node.input[1])
            return low + other[0], high + other[1]
        if node.op_type == "Conv":
            weight = constants[node.input[1]]
            weight = weight.reshape(len(weight), -1)
            bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight))
            low, high = min(low, 0.0), max(high, 0.0)  # padding is zero
            positive, negative = weight.clip(min=0).sum(axis=1), weight.clip(max=0).sum(axis=1)
            least = positive * low + negative * high + bias
            most = positive * high + negative * low + bias
            return float(least.min()), float(most.max())
        raise Problem(f"nothing bounds {output!r}: there is no interval rule for {node.op_type} ({node.name!r})")

    interval(output)
    return found
