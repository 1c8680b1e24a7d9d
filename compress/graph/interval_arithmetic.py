"""Interval arithmetic on an ONNX graph: bounds of a tensor for all possible inputs.

The bounds are computed backwards from an output to the nearest Clip nodes that it depends on. Each step assumes that
its inputs are independent. So an interval is never too narrow, but it becomes too wide to be useful behind many layers
of weights.
"""

from __future__ import annotations

import numpy as np
import onnx

from vedette.runtime.errors import Problem

from .editing import map_producers, read_initializers

Interval = tuple[float, float]


def compute_bounds(model: onnx.ModelProto, output: str) -> dict[str, Interval]:
    """Intervals of `output` and of all tensors between it and the nearest Clip nodes, by tensor name.

    Raises:
        Problem: a path from `output` reaches the graph input or an operator without a rule before it reaches a Clip
    """
    producers, constants = map_producers(model.graph), read_initializers(model.graph)
    intervals: dict[str, Interval] = {}

    def bound_tensor(name: str) -> Interval:
        if name in constants:
            return float(constants[name].min()), float(constants[name].max())
        if name not in intervals:
            if name not in producers:
                raise Problem(f"nothing bounds {output!r}: it depends on {name!r} without a Clip between")
            intervals[name] = bound_node(producers[name])
        return intervals[name]

    def bound_node(node: onnx.NodeProto) -> Interval:
        if node.op_type == "Clip":
            return float(constants[node.input[1]]), float(constants[node.input[2]])
        low, high = bound_tensor(node.input[0])
        if node.op_type in ("Resize", "ReduceMax", "Concat", "Gather", "Reshape"):
            others = [bound_tensor(name) for name in node.input[1:] if node.op_type == "Concat"]
            return min([low, *(other[0] for other in others)]), max([high, *(other[1] for other in others)])
        if node.op_type == "Mul" and node.input[0] == node.input[1]:
            return (0.0 if low <= 0 <= high else min(low**2, high**2)), max(low**2, high**2)
        if node.op_type == "Add":
            other = bound_tensor(node.input[1])
            return low + other[0], high + other[1]
        if node.op_type == "Conv":
            weight = constants[node.input[1]]
            weight = weight.reshape(len(weight), -1)
            bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight))
            low, high = min(low, 0.0), max(high, 0.0)  # padding is zero
            positive, negative = weight.clip(min=0).sum(axis=1), weight.clip(max=0).sum(axis=1)
            minimum = positive * low + negative * high + bias
            maximum = positive * high + negative * low + bias
            return float(minimum.min()), float(maximum.max())
        raise Problem(f"nothing bounds {output!r}: there is no interval rule for {node.op_type} ({node.name!r})")

    bound_tensor(output)
    return intervals
