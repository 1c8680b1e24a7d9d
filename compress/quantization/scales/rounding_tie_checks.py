"""Rounding ties: detects scales at which two inference libraries may round a result to different integers.

Each library computes the integer result in its own way, in single precision. If the exact value is almost halfway
between two steps, one library may round down and the other up. In a network with many layers, this one step grows to
tens of steps. The possible values are few, so all are checked in advance:

    table     the lookup table of a Sigmoid or Tanh: 256 input integers
    SiLU      x · sigmoid(x): one product per integer x
    product   the product of any two integers: there are so many that only ties within the single-precision error are
              avoided
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

ScaleAndZeroPoint = tuple[float, int]
"""Scale and zero point of a u8 tensor."""

_TABLE_MARGIN = 1e-3  # smallest distance to a tie, in steps
_PRODUCT_MARGIN = 4e-5  # in steps: twice the single-precision rounding error of 255
_SIGMOID_STEPS = 256.0


def lut_has_no_ties(operator: str, input_scale: ScaleAndZeroPoint) -> bool:
    """Returns whether the lookup table of a Sigmoid or Tanh with this input scale has no rounding tie."""
    real = input_scale[0] * _integers_minus_zero_point(input_scale)
    return _has_no_ties(
        np.tanh(real) * 128 if operator == "Tanh" else _SIGMOID_STEPS / (1 + np.exp(-real)), _TABLE_MARGIN
    )


def silu_has_no_ties(input_scale: ScaleAndZeroPoint, output_scale: ScaleAndZeroPoint) -> bool:
    """Returns whether x · sigmoid(x) has no rounding tie, for the scale of x and the scale of the product."""
    x = _integers_minus_zero_point(input_scale)
    sigmoid = np.round(_SIGMOID_STEPS / (1 + np.exp(-input_scale[0] * x))).clip(0, 255)
    return _has_no_ties(
        _drop_saturated(x * sigmoid * (input_scale[0] / _SIGMOID_STEPS / output_scale[0]), output_scale), _TABLE_MARGIN
    )


def product_has_no_ties(
    first_scale: ScaleAndZeroPoint, second_scale: ScaleAndZeroPoint, output_scale: ScaleAndZeroPoint
) -> bool:
    """Returns whether the product of any two integers of these scales has no rounding tie."""
    products = np.unique(np.outer(_integers_minus_zero_point(first_scale), _integers_minus_zero_point(second_scale)))
    return _has_no_ties(
        _drop_saturated(products * (first_scale[0] * second_scale[0] / output_scale[0]), output_scale), _PRODUCT_MARGIN
    )


def find_silu_input(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> str | None:
    """Returns the x if `node` computes x · sigmoid(x); otherwise None."""
    x: str
    for x, other in (tuple(node.input), tuple(node.input)[::-1]):
        producer = producers.get(other)
        if producer is not None and producer.op_type == "Sigmoid" and producer.input[0] == x:
            return x
    return None


def _integers_minus_zero_point(scale: ScaleAndZeroPoint) -> NDArray[Any]:
    return np.arange(256) - scale[1]


def _drop_saturated(values: NDArray[Any], output_scale: ScaleAndZeroPoint) -> NDArray[Any]:
    """Removes the values that the output range clamps."""
    return values[(values > -output_scale[1] - 1) & (values < 256 - output_scale[1])]


def _has_no_ties(values: NDArray[Any], margin: float) -> bool:
    return not len(values) or bool(np.abs(values - np.floor(values) - 0.5).min() > margin)
