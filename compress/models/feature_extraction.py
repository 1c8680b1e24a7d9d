"""The features that a detector is fitted to: from the float backbone, or from its int8 twin.

What varies least in the pictures decides a distance most: before a still background, the float features of good parts
differ by less than int8 moves them. A detector that was fitted to float features then sees every int8 picture as
strange (on toy figures before black, AUROC fell from 0.84 to 0.76). Fitted to int8 features, it knows that noise as
normal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vedette.runtime.inference.backends.onnx import EXACT

from .efficientnet_lite import MEAN, STD

_BATCH = 16


def of_float(backbone: nn.Module, tensors: Iterable[NDArray[Any]]) -> Iterator[list[Tensor]]:
    """Batches of features, per tapped level N x C x H x W, of images of 1 x H x W x 3, u8."""
    for batch in batches(tensors):
        with torch.inference_mode():
            yield backbone(batch)


def batches(tensors: Iterable[NDArray[Any]]) -> Iterator[Tensor]:
    """Images of 1 x H x W x 3, u8, some at a time as a network takes them: N x 3 x H x W, normalised."""
    left = iter(tensors)
    while batch := [tensor for _, tensor in zip(range(_BATCH), left, strict=False)]:
        yield pixels(batch)


def pixels(images: Sequence[NDArray[Any]]) -> Tensor:
    """The same, all at once."""
    return (torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).float() - MEAN) / STD


def of_int8(model: onnx.ModelProto, names: list[str], tensors: Iterable[NDArray[Any]]) -> Iterator[list[Tensor]]:
    """The same, as real numbers, from the tensors `names` of a quantised model with integer input."""
    graph = model.graph
    quantised = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    real = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    wanted = [real[quantised[name]] for name in names]
    opened = revealing(model, wanted, onnx.TensorProto.FLOAT)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT)
    session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = graph.input[0].name
    for tensor in tensors:
        yield [torch.from_numpy(each) for each in session.run(wanted, {feed: tensor})]


def revealing(model: onnx.ModelProto, names: Iterable[str], kind: int) -> onnx.ModelProto:
    """A copy of `model` that has the tensors `names`, of the type `kind`, as outputs, too; it computes what it did."""
    opened: onnx.ModelProto = onnx.ModelProto.FromString(model.SerializeToString())
    more = sorted(set(names) - {value.name for value in opened.graph.output})
    opened.graph.output.extend(onnx.helper.make_tensor_value_info(name, kind, None) for name in more)
    return opened
