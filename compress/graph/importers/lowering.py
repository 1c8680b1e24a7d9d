"""A float graph said in the words that integers are exact in.

ONNX Runtime and LiteRT agree on convolutions to the integer, whatever their scales; on means, on sums with a constant
and on bilinear resizing each has its own way to round. All of these are convolutions, so that is how they are written:

    AveragePool, GlobalAveragePool, ReduceMean    each channel's own weights, all alike
    BatchNormalization, Add, Sub, Mul, Div        by a constant for each channel: one weight and one bias
    HardSigmoid, HardSwish                        a line, clipped; and the product with it
    Resize, bilinear                              to the half: means of four; to the double: neighbours, and a kernel of
                                                  1 2 1 over them (2 x 2 / 16), the edge repeated
    Conv in groups                                one for each group of channels, side by side
    Gemm, MatMul                                  the matrix turned as a convolution has it

What a detector's head joins at last is taken apart: one scale over boxes, objectness and classes would leave the boxes
or the classes no steps, so each branch is an output of its own, and whoever reads them joins them as real numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_JOINTS = ("Concat", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")


def lower(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, float, of known shapes and opset 20, computing the same."""
    lowering = _Lowering(_apart(model))
    rules = (_Lowering.linear, _Lowering.mean, _Lowering.hard, _Lowering.bilinear, _Lowering.product, _Lowering.grouped)
    for rule in rules:
        lowering.apply(rule)
    lowered = onnx.shape_inference.infer_shapes(lowering.finish(), strict_mode=True)
    onnx.checker.check_model(lowered)
    return lowered


def _apart(model: onnx.ModelProto) -> onnx.ModelProto:
    """Outputs that come of a Concat are replaced by what it joins."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    known = {value.name: value for value in (*graph.value_info, *graph.output)}
    while True:
        producers = {name: node for node in graph.node for name in node.output}
        readers = [name for node in graph.node for name in node.input]
        for output in graph.output:
            trail, name = [], output.name
            while name in producers and producers[name].op_type in _JOINTS:
                trail.append(producers[name])
                if trail[-1].op_type == "Concat" or readers.count(name) > 1:
                    break
                name = trail[-1].input[0]
            if trail and trail[-1].op_type == "Concat" and not any(readers.count(n.output[0]) for n in trail[:1]):
                joined = [known[each] for each in trail[-1].input if each in producers]
                break
        else:
            return model
        for node in trail:
            graph.node.remove(node)
        outputs = [part for each in graph.output for part in (joined if each is output else [each])]
        kept = [onnx.ValueInfoProto.FromString(each.SerializeToString()) for each in outputs]
        del graph.output[:]
        graph.output.extend(kept)


class _Lowering:
    """Goes through the nodes rule by rule; a rule gives what stands in a node's place, or None to leave it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        self.constants = {value.name: numpy_helper.to_array(value) for value in self.model.graph.initializer}
        self.shapes: dict[str, tuple[int, ...]] = {name: each.shape for name, each in self.constants.items()}
        graph = self.model.graph
        for value in (*graph.input, *graph.output, *graph.value_info):
            self.shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        self.nodes = list(graph.node)

    def apply(self, rule: Any) -> None:
        made: list[onnx.NodeProto] = []
        for node in self.nodes:
            made += rule(self, node, {a.name: helper.get_attribute_value(a) for a in node.attribute}) or [node]
        self.nodes = made

    def finish(self) -> onnx.ModelProto:
        graph = self.model.graph
        read = {name for node in self.nodes for name in node.input}
        kept = [numpy_helper.from_array(each, name) for name, each in self.constants.items() if name in read]
        for field in (graph.node, graph.initializer, graph.value_info):
            del field[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(kept)
        return self.model

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants[name] = values
        self.shapes[name] = values.shape
        return name

    def depthwise(
        self, source: str, result: str, kernel: NDArray[Any], bias: NDArray[Any] | None = None, **attributes: Any
    ) -> onnx.NodeProto:
        """Each channel of `source` with its own kernel: channels x height x width."""
        inputs = [source, self.constant(f"{result}/weight", kernel[:, None].astype(np.float32))]
        if bias is not None:
            inputs.append(self.constant(f"{result}/bias", bias.astype(np.float32)))
        self.shapes.setdefault(result, self.shapes[source])
        return helper.make_node("Conv", inputs, [result], name=f"{result}/conv", group=len(kernel), **attributes)

    def grouped(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """One convolution for each group, unless each channel is one."""
        groups = attributes.pop("group", 1)
        if node.op_type != "Conv" or groups == 1 or node.input[1] not in self.constants:
            return None
        weight, name = self.constants[node.input[1]], node.output[0]
        if weight.shape[1] == 1 and groups == self.shapes[node.input[0]][1]:
            return None
        parts, results = ([f"{name}/{what}{number}" for number in range(groups)] for what in ("part", "made"))
        made = [helper.make_node("Split", [node.input[0]], parts, name=f"{name}/parts", axis=1, num_outputs=groups)]
        pieces = [np.split(self.constants[each], groups) for each in node.input[1:]]
        for number, (part, result) in enumerate(zip(parts, results, strict=True)):
            names = [self.constant(f"{result}/{place}", each[number]) for place, each in enumerate(pieces)]
            made.append(helper.make_node("Conv", [part, *names], [result], name=f"{result}/conv", **attributes))
        return [*made, helper.make_node("Concat", results, [name], name=f"{name}/together", axis=1)]

    def linear(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """One weight and one bias for each channel."""
        result = node.output[0]
        shape = self.shapes[result]
        if len(shape) != 4:
            return None
        if node.op_type == "BatchNormalization":
            scale, bias, mean, variance = (self.constants[name] for name in node.input[1:5])
            weight = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
            return [self.depthwise(node.input[0], result, weight[:, None, None], bias - mean * weight)]
        if node.op_type not in ("Add", "Sub", "Mul", "Div"):
            return None
        fixed = [place for place, name in enumerate(node.input) if name in self.constants]
        if len(fixed) != 1 or (fixed == [0] and node.op_type == "Div"):
            return None
        values, source = self.constants[node.input[fixed[0]]], node.input[1 - fixed[0]]
        values = values.reshape((1,) * (4 - values.ndim) + values.shape)
        if values.size not in (1, values.shape[1]) or self.shapes[source] != shape:
            return None
        each = np.broadcast_to(values.ravel(), (shape[1],)).astype(np.float64)
        one, none = np.ones_like(each), np.zeros_like(each)
        weight, bias = {
            "Add": (one, each),
            "Sub": (one, -each) if fixed == [1] else (-one, each),
            "Mul": (each, none),
            "Div": (1 / each, none) if fixed == [1] else (one, none),
        }[node.op_type]
        return [self.depthwise(source, result, weight[:, None, None], bias)]

    def mean(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """All weights alike."""
        source, result = node.input[0] if node.input else "", node.output[0]
        shape = self.shapes.get(source, ())
        if node.op_type not in ("AveragePool", "GlobalAveragePool", "ReduceMean") or len(shape) != 4:
            return None
        if node.op_type == "AveragePool":
            counted = attributes.get("count_include_pad", 0) or not any(attributes.get("pads", (0,)))
            if not counted or attributes.get("ceil_mode", 0):
                return None
            size = tuple(attributes["kernel_shape"])
            settings = {name: attributes[name] for name in ("pads", "strides") if name in attributes}
            return [self.depthwise(source, result, np.full((shape[1], *size), 1 / (size[0] * size[1])), **settings)]
        if node.op_type == "ReduceMean":
            axes = self.constants[node.input[1]].tolist() if len(node.input) > 1 and node.input[1] else [0, 1, 2, 3]
            if sorted(axis % 4 for axis in axes) != [2, 3]:
                return None
        kernel = np.full(shape[1:], 1 / (shape[2] * shape[3]))
        if len(self.shapes[result]) == 4:
            return [self.depthwise(source, result, kernel)]
        self.shapes[f"{result}/pooled"] = (*shape[:2], 1, 1)
        where = self.constant(f"{result}/shape", np.array(self.shapes[result], np.int64))
        flat = helper.make_node("Reshape", [f"{result}/pooled", where], [result], name=f"{result}/flat")
        return [self.depthwise(source, f"{result}/pooled", kernel), flat]

    def hard(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """A line, clipped to 0…1."""
        if node.op_type not in ("HardSigmoid", "HardSwish") or len(self.shapes[node.input[0]]) != 4:
            return None
        source, result = node.input[0], node.output[0]
        alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
        if node.op_type == "HardSwish":
            alpha, beta = 1 / 6, 0.5
        gate = f"{result}/gate" if node.op_type == "HardSwish" else result
        channels = self.shapes[source][1]
        limits = [self.constant(f"{result}/{name}", np.array(name, np.float32)) for name in ("0", "1")]
        line = self.depthwise(source, f"{gate}/line", np.full((channels, 1, 1), alpha), np.full(channels, beta))
        made = [line, helper.make_node("Clip", [f"{gate}/line", *limits], [gate], name=f"{gate}/clip")]
        if node.op_type == "HardSwish":
            made.append(helper.make_node("Mul", [source, gate], [result], name=f"{result}/product"))
        return made

    def bilinear(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """To the half or to the double."""
        how = attributes.get("coordinate_transformation_mode", b"half_pixel")
        if node.op_type != "Resize" or attributes["mode"] != b"linear" or not how.endswith(b"half_pixel"):
            return None
        source, result = node.input[0], node.output[0]
        before, after = self.shapes[source], self.shapes[result]
        if before[2:] == (2 * after[2], 2 * after[3]):
            return [self.depthwise(source, result, np.full((before[1], 2, 2), 1 / 4), strides=[2, 2])]
        if after[2:] != (2 * before[2], 2 * before[3]):
            return None
        factors = self.constant(f"{result}/factors", np.array([1, 1, 2, 2], np.float32))
        amounts = self.constant(f"{result}/pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        simple = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        near, wide = f"{result}/near", f"{result}/wide"
        self.shapes[wide] = (1, before[1], after[2] + 2, after[3] + 2)
        kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
        return [
            helper.make_node("Resize", [source, "", factors], [near], name=f"{result}/nearest", **simple),
            helper.make_node("Pad", [near, amounts], [wide], name=f"{result}/edge", mode="edge"),
            self.depthwise(wide, result, np.broadcast_to(kernel, (before[1], 3, 3))),
        ]

    def product(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto] | None:
        """Outputs x inputs, with the factors in it."""
        if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in self.constants:
            return None
        matrix = self.constants[node.input[1]]
        if matrix.ndim != 2 or attributes.get("transA", 0) or len(self.shapes[node.input[0]]) != 2:
            return None
        turned = matrix if attributes.get("transB", 0) else matrix.T
        name = node.output[0]
        weight = self.constant(
            f"{name}/weight", np.ascontiguousarray(turned * attributes.get("alpha", 1.0), np.float32)
        )
        inputs = [node.input[0], weight]
        if len(node.input) > 2:
            bias = self.constants[node.input[2]] * attributes.get("beta", 1.0)
            bias = np.broadcast_to(bias, (1, len(turned))).ravel().astype(np.float32)
            inputs.append(self.constant(f"{name}/bias", bias))
        return [helper.make_node("Gemm", inputs, [name], name=node.name or name, transB=1)]
