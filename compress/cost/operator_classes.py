"""Operator class of a node: the key by which the cost model of a device has its coefficients."""

from __future__ import annotations

import onnx

from vedette.devices.cost_model import OperatorClass

from ..graph.editing import read_attributes

_REDUCTIONS = ("Max", "Mean", "Sum", "L1", "L2", "Min", "Prod")
_OPERATOR_CLASSES: dict[OperatorClass, tuple[str, ...]] = {
    "copy": ("Concat", "Pad", "DepthToSpace", "SpaceToDepth"),
    "resize": ("Resize", "Upsample"),
    "pool": ("MaxPool",),
    "reduce": ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", *(f"Reduce{name}" for name in _REDUCTIONS)),
    "curve": ("Sigmoid", "Tanh"),
    "leaky": ("LeakyRelu",),
    "rectify": ("Relu",),
}


def classify_weightless(node: onnx.NodeProto, inputs: list[str]) -> OperatorClass:
    """The class of an operator without weights.

    Args:
        node: the operator
        inputs: names of its inputs that are not constant
    """
    mode = read_attributes(node).get("mode", b"")
    if node.op_type == "Pad" and mode == b"edge":
        return "edge"
    if node.op_type == "Resize" and mode == b"linear":
        return "resize-linear"
    if node.op_type == "Mul" and len(set(inputs)) == 2:
        return "product"
    if node.op_type == "LeakyRelu" and read_attributes(node).get("alpha", 0.01) == 0:
        return "rectify"  # the form in which a Relu that is not fused is written
    return next((name for name, op_types in _OPERATOR_CLASSES.items() if node.op_type in op_types), "elementwise")


def classify_ungrouped_convolution(input_channels: int, taps: int) -> OperatorClass:
    """The class of a convolution over all channels.

    Args:
        input_channels: channels of the input
        taps: height times width of the kernel
    """
    if taps == 1:
        return "pointwise"
    if input_channels > 4:
        return "dense"
    return "stem" if taps <= 9 or input_channels == 1 else "stem-wide"


def classify_depthwise(channels: int, taps: int, stride: int) -> OperatorClass:
    """The class of a depthwise convolution.

    Args:
        channels: channels of the output
        taps: height times width of the kernel
        stride: the larger stride
    """
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
