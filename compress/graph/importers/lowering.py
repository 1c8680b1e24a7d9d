"""Lowering of a float graph to operators that both runtimes compute exactly in integers.

ONNX Runtime and LiteRT agree on convolutions to the integer, whatever the scales. They round means, sums with a
constant and bilinear resizing differently. All of these are convolutions, so lowering writes them as such:

    AveragePool, GlobalAveragePool, ReduceMean    depthwise convolution with equal weights
    BatchNormalization, Add, Sub, Mul, Div        depthwise 1 x 1 (Add to Div: by a constant per channel)
    HardSigmoid, HardSwish                        depthwise 1 x 1 and Clip; HardSwish multiplies the input by that
    Resize, bilinear                              by 1/2: means of four pixels; by 2: nearest neighbor, edge padding and
                                                  a 3 x 3 kernel, the outer product of (1, 2, 1) / 4 with itself
    grouped Conv                                  one convolution per group, then Concat
    Gemm, MatMul                                  Gemm with the matrix as outputs x inputs

A Concat at the end of a detection head is removed: with one scale for boxes, objectness and classes, the boxes or the
classes would have too few integer steps. Each branch becomes an output of its own; the runtime joins them as floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ..editing import read_attributes, read_initializers, read_shapes
from .postprocessing_removal import split_output_concats


def lower_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy of `model` that computes the same outputs with the operators above.

    Args:
        model: float, of known shapes, opset 20
    """
    lowering = _Lowering(split_output_concats(model))
    rules = (
        _Lowering.lower_channel_arithmetic,
        _Lowering.lower_mean,
        _Lowering.lower_hard_activation,
        _Lowering.lower_bilinear_resize,
        _Lowering.lower_matrix_product,
        _Lowering.lower_grouped_convolution,
    )
    for rule in rules:
        lowering.apply_rule(rule)
    lowered = onnx.shape_inference.infer_shapes(lowering.build_model(), strict_mode=True)
    onnx.checker.check_model(lowered)
    return lowered


class _Lowering:
    """Rewrites the nodes of a graph rule by rule.

    A rule returns the nodes that replace a node, or None to keep it.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        graph = self.model.graph
        self.constants = read_initializers(graph)
        self.shapes = read_shapes(graph)
        self.nodes = list(graph.node)

    def apply_rule(self, rule: _Rule) -> None:
        """Apply one rule to all nodes, in graph order."""
        nodes: list[onnx.NodeProto] = []
        for node in self.nodes:
            nodes += rule(self, node, read_attributes(node)) or [node]
        self.nodes = nodes

    def build_model(self) -> onnx.ModelProto:
        """The model with the present nodes and the constants that they read; value infos are dropped."""
        graph = self.model.graph
        used = {name for node in self.nodes for name in node.input}
        initializers = [numpy_helper.from_array(v, name) for name, v in self.constants.items() if name in used]
        for field in (graph.node, graph.initializer, graph.value_info):
            del field[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(initializers)
        return self.model

    def add_constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        self.constants[name] = values
        self.shapes[name] = values.shape
        return name

    def make_depthwise(
        self, source: str, result: str, kernel: NDArray[Any], bias: NDArray[Any] | None = None, **attributes: Any
    ) -> onnx.NodeProto:
        """Depthwise convolution of `source` with `kernel` (channels x height x width)."""
        inputs = [source, self.add_constant(f"{result}/weight", kernel[:, None].astype(np.float32))]
        if bias is not None:
            inputs.append(self.add_constant(f"{result}/bias", bias.astype(np.float32)))
        self.shapes.setdefault(result, self.shapes[source])
        return helper.make_node("Conv", inputs, [result], name=f"{result}/conv", group=len(kernel), **attributes)

    def lower_grouped_convolution(
        self, node: onnx.NodeProto, attributes: dict[str, Any]
    ) -> list[onnx.NodeProto] | None:
        """One convolution per group; a depthwise convolution stays."""
        groups = attributes.pop("group", 1)
        if node.op_type != "Conv" or groups == 1 or node.input[1] not in self.constants:
            return None
        weight, name = self.constants[node.input[1]], node.output[0]
        if weight.shape[1] == 1 and groups == self.shapes[node.input[0]][1]:
            return None
        parts, results = ([f"{name}/{suffix}{number}" for number in range(groups)] for suffix in ("part", "made"))
        nodes = [helper.make_node("Split", [node.input[0]], parts, name=f"{name}/parts", axis=1, num_outputs=groups)]
        weights_by_group = [np.split(self.constants[each], groups) for each in node.input[1:]]
        for number, (part, result) in enumerate(zip(parts, results, strict=True)):
            names = [self.add_constant(f"{result}/{slot}", each[number]) for slot, each in enumerate(weights_by_group)]
            nodes.append(helper.make_node("Conv", [part, *names], [result], name=f"{result}/conv", **attributes))
        return [*nodes, helper.make_node("Concat", results, [name], name=f"{name}/together", axis=1)]

    def lower_channel_arithmetic(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """Batch normalization or arithmetic with a constant as one weight and one bias per channel."""
        result = node.output[0]
        shape = self.shapes[result]
        if len(shape) != 4:
            return None
        if node.op_type == "BatchNormalization":
            scale, bias, mean, variance = (self.constants[name] for name in node.input[1:5])
            weight = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
            return [self.make_depthwise(node.input[0], result, weight[:, None, None], bias - mean * weight)]
        if node.op_type not in ("Add", "Sub", "Mul", "Div"):
            return None
        constant_slots = [slot for slot, name in enumerate(node.input) if name in self.constants]
        if len(constant_slots) != 1 or (constant_slots == [0] and node.op_type == "Div"):
            return None
        constant_last = constant_slots == [1]
        values, source = self.constants[node.input[constant_slots[0]]], node.input[1 - constant_slots[0]]
        values = values.reshape((1,) * (4 - values.ndim) + values.shape)
        if values.size not in (1, values.shape[1]) or self.shapes[source] != shape:
            return None
        operand = np.broadcast_to(values.ravel(), (shape[1],)).astype(np.float64)
        ones, zeros = np.ones_like(operand), np.zeros_like(operand)
        if node.op_type == "Div":
            weight, bias = 1 / operand, zeros
        else:
            weight, bias = {
                "Add": (ones, operand),
                "Sub": (ones, -operand) if constant_last else (-ones, operand),
                "Mul": (operand, zeros),
            }[node.op_type]
        return [self.make_depthwise(source, result, weight[:, None, None], bias)]

    def lower_mean(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """Mean over a window or over height and width as a depthwise convolution of equal weights."""
        source, result = node.input[0] if node.input else "", node.output[0]
        shape = self.shapes.get(source, ())
        if node.op_type not in ("AveragePool", "GlobalAveragePool", "ReduceMean") or len(shape) != 4:
            return None
        if node.op_type == "AveragePool":
            counts_padding = attributes.get("count_include_pad", 0) or not any(attributes.get("pads", (0,)))
            if not counts_padding or attributes.get("ceil_mode", 0):
                return None
            size = tuple(attributes["kernel_shape"])
            settings = {name: attributes[name] for name in ("pads", "strides") if name in attributes}
            return [
                self.make_depthwise(source, result, np.full((shape[1], *size), 1 / (size[0] * size[1])), **settings)
            ]
        if node.op_type == "ReduceMean":
            axes = self.constants[node.input[1]].tolist() if len(node.input) > 1 and node.input[1] else [0, 1, 2, 3]
            if sorted(axis % 4 for axis in axes) != [2, 3]:
                return None
        kernel = np.full(shape[1:], 1 / (shape[2] * shape[3]))
        if len(self.shapes[result]) == 4:
            return [self.make_depthwise(source, result, kernel)]
        self.shapes[f"{result}/pooled"] = (*shape[:2], 1, 1)
        target_shape = self.add_constant(f"{result}/shape", np.array(self.shapes[result], np.int64))
        flat = helper.make_node("Reshape", [f"{result}/pooled", target_shape], [result], name=f"{result}/flat")
        return [self.make_depthwise(source, f"{result}/pooled", kernel), flat]

    def lower_hard_activation(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """HardSigmoid as a linear function clipped to 0…1; HardSwish as the input times that."""
        if node.op_type not in ("HardSigmoid", "HardSwish") or len(self.shapes[node.input[0]]) != 4:
            return None
        source, result = node.input[0], node.output[0]
        alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
        if node.op_type == "HardSwish":
            alpha, beta = 1 / 6, 0.5
        gate = f"{result}/gate" if node.op_type == "HardSwish" else result
        channels = self.shapes[source][1]
        limits = [self.add_constant(f"{result}/{name}", np.array(name, np.float32)) for name in ("0", "1")]
        linear = self.make_depthwise(source, f"{gate}/line", np.full((channels, 1, 1), alpha), np.full(channels, beta))
        nodes = [linear, helper.make_node("Clip", [f"{gate}/line", *limits], [gate], name=f"{gate}/clip")]
        if node.op_type == "HardSwish":
            nodes.append(helper.make_node("Mul", [source, gate], [result], name=f"{result}/product"))
        return nodes

    def lower_bilinear_resize(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """Bilinear resize by 1/2 or by 2."""
        mode = attributes.get("coordinate_transformation_mode", b"half_pixel")
        if node.op_type != "Resize" or attributes["mode"] != b"linear" or not mode.endswith(b"half_pixel"):
            return None
        source, result = node.input[0], node.output[0]
        before, after = self.shapes[source], self.shapes[result]
        if before[2:] == (2 * after[2], 2 * after[3]):
            return [self.make_depthwise(source, result, np.full((before[1], 2, 2), 1 / 4), strides=[2, 2])]
        if after[2:] != (2 * before[2], 2 * before[3]):
            return None
        factors = self.add_constant(f"{result}/factors", np.array([1, 1, 2, 2], np.float32))
        pads = self.add_constant(f"{result}/pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        repeat_pixels = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        nearest, padded = f"{result}/near", f"{result}/wide"
        self.shapes[padded] = (1, before[1], after[2] + 2, after[3] + 2)
        kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
        return [
            helper.make_node("Resize", [source, "", factors], [nearest], name=f"{result}/nearest", **repeat_pixels),
            helper.make_node("Pad", [nearest, pads], [padded], name=f"{result}/edge", mode="edge"),
            self.make_depthwise(padded, result, np.broadcast_to(kernel, (before[1], 3, 3))),
        ]

    def lower_matrix_product(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """Gemm with a matrix of outputs x inputs, alpha and beta folded in."""
        if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in self.constants:
            return None
        matrix = self.constants[node.input[1]]
        if matrix.ndim != 2 or attributes.get("transA", 0) or len(self.shapes[node.input[0]]) != 2:
            return None
        matrix_by_output = matrix if attributes.get("transB", 0) else matrix.T
        name = node.output[0]
        weight = self.add_constant(
            f"{name}/weight", np.ascontiguousarray(matrix_by_output * attributes.get("alpha", 1.0), np.float32)
        )
        inputs = [node.input[0], weight]
        if len(node.input) > 2:
            bias = self.constants[node.input[2]] * attributes.get("beta", 1.0)
            bias = np.broadcast_to(bias, (1, len(matrix_by_output))).ravel().astype(np.float32)
            inputs.append(self.add_constant(f"{name}/bias", bias))
        return [helper.make_node("Gemm", inputs, [name], name=node.name or name, transB=1)]


_Rule = Callable[[_Lowering, onnx.NodeProto, dict[str, Any]], list[onnx.NodeProto] | None]
