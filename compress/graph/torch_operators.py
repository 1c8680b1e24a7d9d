"""ONNX operators as torch functions: what a graph needs to be trained (torch_module.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from vedette.runtime.errors import Problem

from .editing import read_attributes


class GraphNode:
    """An operator with its attributes as Python values.

    A node with several outputs is one `GraphNode` for each of them, told apart by `part`.
    """

    def __init__(self, node: onnx.NodeProto, part: int = 0) -> None:
        self.op_type = node.op_type
        self.name = (node.name or node.output[0]) if not part else node.output[part]
        self.inputs = list(node.input)
        self.output = node.output[part]
        self.part = part
        self.attributes: dict[str, Any] = read_attributes(node)


def _require(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def _pad_image(node: GraphNode, image: Tensor, value: float) -> Tensor:
    """The image with the node's padding, filled with `value`."""
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    return functional.pad(image, (left, right, top, bottom), value=value) if top | left | bottom | right else image


def _convolution(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    image, weight, bias = _require(inputs[0]), _require(inputs[1]), inputs[2] if len(inputs) > 2 else None
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    pads: Any = (top, left)
    if (top, left) != (bottom, right):
        image, pads = _pad_image(node, image, 0.0), 0
    stride, dilation = (tuple(node.attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    return functional.conv2d(image, weight, bias, stride, pads, dilation, node.attributes.get("group", 1))


def _gemm(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    left, right = _require(inputs[0]), _require(inputs[1])
    scales = {node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)}
    if node.attributes.get("transA", 0) or scales != {1.0}:
        raise Problem(f"node {node.name!r}: a Gemm with transA, alpha or beta cannot be trained here")
    product = left @ (right.T if node.attributes.get("transB", 0) else right)
    return product if len(inputs) < 3 or inputs[2] is None else product + inputs[2]


def _clip(_: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    low, high = [*inputs[1:], None, None][:2]
    return torch.clamp(_require(inputs[0]), low, high)


def _read_axes(node: GraphNode, inputs: Sequence[Tensor | None]) -> list[int]:
    """Axes of a reduction: an input, an attribute, or all but the batch axis."""
    axes = _require(inputs[1]).tolist() if len(inputs) > 1 else node.attributes.get("axes")
    return [int(axis) for axis in axes or range(1, _require(inputs[0]).ndim)]


def _split(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    """One output of a Split: by an input with the sizes, or into equal parts."""
    image, axis = _require(inputs[0]), node.attributes.get("axis", 0)
    if len(inputs) > 1 and inputs[1] is not None:
        return torch.split(image, [int(size) for size in inputs[1]], dim=axis)[node.part]
    return image.tensor_split(node.attributes["num_outputs"], dim=axis)[node.part]


def _pad(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    """Padding of rows and columns."""
    modes = {b"constant": "constant", b"edge": "replicate", b"reflect": "reflect"}
    mode, pads = modes.get(node.attributes.get("mode", b"constant")), [int(size) for size in _require(inputs[1])]
    if mode is None or len(pads) != 8 or any(pads[:2] + pads[4:6]) or (len(inputs) > 3 and inputs[3] is not None):
        raise Problem(f"node {node.name!r}: only a Pad of rows and columns can be trained here")
    sides = (pads[3], pads[7], pads[2], pads[6])
    if mode != "constant":
        return functional.pad(_require(inputs[0]), sides, mode)
    value = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0
    return functional.pad(_require(inputs[0]), sides, value=value)


def _make_reduction(reduce: Callable[..., Tensor]) -> Callable[[GraphNode, Sequence[Tensor | None]], Tensor]:
    def operator(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
        keep_axes = bool(node.attributes.get("keepdims", 1))
        return reduce(_require(inputs[0]), dim=_read_axes(node, inputs), keepdim=keep_axes)

    return operator


def _resize(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    """Nearest neighbor by integer factors, where all rounding rules select the same pixel."""
    image = _require(inputs[0])
    if (factors := inputs[2] if len(inputs) > 2 else None) is not None and factors.numel():
        vertical, horizontal = (float(factor) for factor in factors[-2:])
    else:
        sizes = zip(_require(inputs[3])[-2:], image.shape[-2:], strict=True)
        vertical, horizontal = (float(after) / before for after, before in sizes)
    if node.attributes.get("mode", b"nearest") != b"nearest" or vertical % 1 or horizontal % 1:
        raise Problem(f"node {node.name!r}: only a nearest-neighbor Resize by integer factors can be trained here")
    return image.repeat_interleave(int(vertical), dim=-2).repeat_interleave(int(horizontal), dim=-1)


def _reshape(_: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    image, shape = _require(inputs[0]), [int(size) for size in _require(inputs[1])]
    shape = [image.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return image.reshape(image.shape[0], *shape[1:])


def _gather(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    if (indices := _require(inputs[1])).ndim != 1:
        raise Problem(f"node {node.name!r}: only a Gather with a list of indices can be trained here")
    return _require(inputs[0]).index_select(node.attributes.get("axis", 0), indices.long())


def _max_pool(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    image = _pad_image(node, _require(inputs[0]), float("-inf"))
    return functional.max_pool2d(image, node.attributes["kernel_shape"], node.attributes.get("strides", (1, 1)))


def _average_pool(node: GraphNode, inputs: Sequence[Tensor | None]) -> Tensor:
    image = _require(inputs[0])
    if any(node.attributes.get("pads", ())):
        raise Problem(f"node {node.name!r}: an AveragePool with padding cannot be trained here")
    return functional.avg_pool2d(image, node.attributes["kernel_shape"], node.attributes.get("strides", (1, 1)))


OPERATORS: dict[str, Callable[[GraphNode, Sequence[Tensor | None]], Tensor]] = {
    "Add": lambda _, inputs: _require(inputs[0]) + _require(inputs[1]),
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": lambda node, inputs: torch.cat([_require(each) for each in inputs], dim=node.attributes["axis"]),
    "Conv": _convolution,
    "Flatten": lambda _, inputs: _require(inputs[0]).flatten(1),
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, inputs: _require(inputs[0]).mean(dim=(2, 3), keepdim=True),
    "Identity": lambda _, inputs: _require(inputs[0]),
    "LeakyRelu": lambda node, inputs: functional.leaky_relu(_require(inputs[0]), node.attributes.get("alpha", 0.01)),
    "MaxPool": _max_pool,
    "Mul": lambda _, inputs: _require(inputs[0]) * _require(inputs[1]),
    "Pad": _pad,
    "ReduceMax": _make_reduction(torch.amax),
    "ReduceMean": _make_reduction(torch.mean),
    "Relu": lambda _, inputs: functional.relu(_require(inputs[0])),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda _, inputs: torch.sigmoid(_require(inputs[0])),
    "Split": _split,
    "Sub": lambda _, inputs: _require(inputs[0]) - _require(inputs[1]),
    "Transpose": lambda node, inputs: _require(inputs[0]).permute(*node.attributes["perm"]),
}
