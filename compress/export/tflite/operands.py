"""Access to the operands of a node, and the error for what TFLite cannot express."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from vedette.runtime.errors import ConfigProblem

from ...graph.qdq import QuantizedNode, QuantizedTensor
from .layout import AxisOrder, permute_axes
from .writer import SubgraphWriter


class UnsupportedOperator(ConfigProblem):
    """A graph holds an operator that has no integer equivalent in TFLite."""


def raise_unsupported(node: QuantizedNode, reason: str) -> NoReturn:
    """Raise an error that names the node.

    Raises:
        UnsupportedOperator: always
    """
    hint = "export the network without this operator, or replace it; docs/goal.md lists the supported operators"
    message = f"node {node.name!r} is a {node.op_type}, which cannot be written as TFLite: {reason}"
    raise UnsupportedOperator(message, hint=hint)


def require_tensor(tensor: QuantizedTensor | None) -> QuantizedTensor:
    """The tensor of an input that is not optional."""
    assert tensor is not None
    return tensor


def constant_data(tensor: QuantizedTensor) -> Any:
    """The integers of a constant."""
    assert tensor.data is not None
    return tensor.data


def read_integers(node: QuantizedNode, position: int, name: str) -> list[int] | None:
    """A constant list of integers: an attribute in old opsets, an input in new ones.

    Args:
        node: the operator
        position: position among its inputs
        name: name of the attribute

    Returns:
        The integers; None if they are omitted.

    Raises:
        UnsupportedOperator: the input is no constant
    """
    if name in node.attributes:
        return list(node.attributes[name])
    tensor = node.inputs[position] if len(node.inputs) > position else None
    if tensor is not None and tensor.data is None:
        raise_unsupported(node, f"its {name} are computed at run time")
    return None if tensor is None else [int(value) for value in np.atleast_1d(constant_data(tensor))]


def add_operand(writer: SubgraphWriter, node: QuantizedNode, tensor: QuantizedTensor, order: AxisOrder) -> int:
    """Index of an operand in `order`: an activation, or a uint8 constant with leading axes of size 1 added.

    Raises:
        UnsupportedOperator: the ranks differ, or a constant is not quantized to uint8
    """
    rank = len(order)
    if tensor.data is None:
        if len(tensor.shape) != rank:
            raise_unsupported(node, f"its inputs have {rank} and {len(tensor.shape)} axes")
        return writer.add_activation(tensor, order)
    if tensor.data.dtype != np.uint8:
        raise_unsupported(node, f"its constant {tensor.name!r} is not quantized")
    shape = (1,) * (rank - len(tensor.shape)) + tuple(tensor.shape)
    values = (tensor.data.astype(np.int16) - 128).astype(np.int8).reshape(shape).transpose(order)
    assert values.shape == permute_axes(shape, order)
    return writer.add_constant(tensor.name, values, tensor.scale, tensor.zero_point - 128)
