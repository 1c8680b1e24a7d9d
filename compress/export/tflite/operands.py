"""What an operator is given, and how it refuses what it cannot say."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from vedette.runtime.errors import ConfigProblem

from ...graph.qdq import Node, Tensor
from .layout import Order, laid
from .writer import Writer


class Refused(ConfigProblem):
    """A graph holds an operator that has no integer twin here."""


def refuse(node: Node, why: str) -> NoReturn:
    """Names the node.

    Raises:
        Refused: always.
    """
    hint = "export the network without this operator, or put another in its place; docs/goal.md lists what is known"
    raise Refused(f"node {node.name!r} is a {node.kind}, which cannot be written as TFLite: {why}", hint=hint)


def given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None  # the operators that call this have no optional input there
    return tensor


def data(tensor: Tensor) -> Any:
    assert tensor.data is not None
    return tensor.data


def numbers(node: Node, place: int, name: str) -> list[int] | None:
    """A constant list of whole numbers: an input of newer operators, an attribute of older ones; None: left out."""
    if name in node.attributes:
        return list(node.attributes[name])
    tensor = node.inputs[place] if len(node.inputs) > place else None
    if tensor is not None and tensor.data is None:
        refuse(node, f"its {name} are worked out while it runs")
    return None if tensor is None else [int(each) for each in np.atleast_1d(data(tensor))]


def operand(writer: Writer, node: Node, tensor: Tensor, order: Order) -> int:
    """An activation, or an u8 constant, broadcast to the rank of `order`."""
    rank = len(order)
    if tensor.data is None:
        if len(tensor.shape) != rank:
            refuse(node, f"its inputs have {rank} and {len(tensor.shape)} axes")
        return writer.activation(tensor, order)
    if tensor.data.dtype != np.uint8:
        refuse(node, f"its constant {tensor.name!r} was not quantised")
    shape = (1,) * (rank - len(tensor.shape)) + tuple(tensor.shape)
    values = (tensor.data.astype(np.int16) - 128).astype(np.int8).reshape(shape).transpose(order)
    assert values.shape == laid(shape, order)
    return writer.constant(tensor.name, values, tensor.scale, tensor.zero_point - 128)
