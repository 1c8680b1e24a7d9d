"""Which kind an operator is of: what the devices' costs are told by (devices/cost_model.py)."""

from __future__ import annotations

from typing import Any

import onnx

from vedette.devices.cost_model import Kind

_REDUCES = ("Max", "Mean", "Sum", "L1", "L2", "Min", "Prod")
_KINDS: dict[Kind, tuple[str, ...]] = {
    "copy": ("Concat", "Pad", "DepthToSpace", "SpaceToDepth"),
    "resize": ("Resize", "Upsample"),
    "pool": ("MaxPool",),
    "reduce": ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", *(f"Reduce{each}" for each in _REDUCES)),
    "curve": ("Sigmoid", "Tanh"),
    "leaky": ("LeakyRelu",),
    "rectify": ("Relu",),
}


def plain(node: onnx.NodeProto, data: list[str]) -> Kind:
    """That of an operator without weights, which reads `data`."""
    mode = attribute(node, "mode", b"")
    if node.op_type == "Pad" and mode == b"edge":
        return "edge"
    if node.op_type == "Resize" and mode == b"linear":
        return "resize-linear"
    if node.op_type == "Mul" and len(set(data)) == 2:
        return "product"
    if node.op_type == "LeakyRelu" and attribute(node, "alpha", 0.01) == 0:
        return "rectify"  # what a Relu becomes that is not fused
    return next((kind for kind, names in _KINDS.items() if node.op_type in names), "elementwise")


def stem(inputs: int, taps: int) -> Kind:
    """The kind of a convolution of the image, or of the one channel of a map."""
    return "stem" if taps <= 9 or inputs == 1 else "stem-wide"


def depthwise(channels: int, taps: int, stride: int) -> Kind:
    """The kind of a depthwise convolution of so many taps."""
    if taps > 25:
        return "whole"
    if channels % 8 and taps > 9:
        return "depthwise-5-ragged"
    if channels % 8:
        return "depthwise-3-ragged" if stride == 1 else "depthwise-3-ragged-strided"
    if taps == 1:
        return "depthwise-1"
    if taps <= 9:
        return "depthwise-3" if stride == 1 else "depthwise-3-strided"
    return "depthwise-5" if stride == 1 else "depthwise-5-strided"


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """As ONNX has it, or `default`."""
    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
