"""Where the two libraries round to different sides, and how far scales are from it.

Each works out in its own way, in single precision, what an integer becomes. Where the true value lies nearly half way
between two steps, one may take the lower and the other the upper, and a network of many layers makes tens of steps of
that one. There are few values, so all are looked at beforehand:

    table     of a Sigmoid or Tanh: what comes of 256 integers
    gate      x · sigmoid(x): of each integer x one product
    product   of any two integers: so many that only what single precision cannot tell apart is kept off
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Scale = tuple[float, int]
"""And zero point."""

_MARGIN = 1e-3  # of a step
_ALIKE = 4e-5  # of a step: twice what rounding in single precision moves 255 by
_SIGMOID = 256.0


def table(kind: str, entry: Scale) -> bool:
    """Whether a Sigmoid or Tanh keeps off the fence, reading integers of that scale."""
    real = entry[0] * _steps(entry)
    return _clear(np.tanh(real) * 128 if kind == "Tanh" else _SIGMOID / (1 + np.exp(-real)), _MARGIN)


def gate(entry: Scale, result: Scale) -> bool:
    """Whether x · sigmoid(x) does, x being of the one scale and the product of the other."""
    x = _steps(entry)
    sigmoid = np.round(_SIGMOID / (1 + np.exp(-entry[0] * x))).clip(0, 255)
    return _clear(_reached(x * sigmoid * (entry[0] / _SIGMOID / result[0]), result), _MARGIN)


def product(one: Scale, other: Scale, result: Scale) -> bool:
    """Whether the product of any two integers of these scales does."""
    products = np.unique(np.outer(_steps(one), _steps(other)))
    return _clear(_reached(products * (one[0] * other[0] / result[0]), result), _ALIKE)


def gated(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> str | None:
    """The x of a product x · sigmoid(x); None: it is none."""
    x: str
    for x, other in (tuple(node.input), tuple(node.input)[::-1]):
        maker = makers.get(other)
        if maker is not None and maker.op_type == "Sigmoid" and maker.input[0] == x:
            return x
    return None


def _steps(scale: Scale) -> NDArray[Any]:
    return np.arange(256) - scale[1]


def _reached(values: NDArray[Any], result: Scale) -> NDArray[Any]:
    """Those that no end of the scale cuts off."""
    return values[(values > -result[1] - 1) & (values < 256 - result[1])]


def _clear(values: NDArray[Any], margin: float) -> bool:
    return not len(values) or bool(np.abs(values - np.floor(values) - 0.5).min() > margin)
