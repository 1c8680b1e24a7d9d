"""Feature extraction from images, with the float backbone or its int8 version.

An anomaly model is fitted to int8 features, so that the quantization error is part of the normal variation. In a
Mahalanobis distance, the directions with the least variance have the largest weight. With a constant background, the
float features of good parts differ by less than the quantization error. An anomaly model that is fitted to float
features then scores every int8 image as anomalous: on toy figures with a black background, the AUROC falls from 0.84 to
0.76.
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

from vedette.runtime.inference.backends.onnx import EXACT_KERNELS_OPTION

from .efficientnet_lite import MEAN, STD, Backbone
from .onnx_backbone import OnnxBackbone

_BATCH = 16


def extract_float_features(backbone: nn.Module, tensors: Iterable[NDArray[Any]]) -> Iterator[list[Tensor]]:
    """Yields batches of features, N x C x H x W per feature level, from images of 1 x H x W x 3, uint8.

    Args:
        backbone: normalized images -> features; an EfficientNet-Lite runs in ONNX Runtime, which is faster
        tensors: the images
    """
    network = OnnxBackbone(backbone, torch.get_num_threads()) if isinstance(backbone, Backbone) else backbone
    for batch in batch_normalized_images(tensors):
        with torch.no_grad():
            features = network(batch)
        yield features


def batch_normalized_images(tensors: Iterable[NDArray[Any]]) -> Iterator[Tensor]:
    """Yields batches of backbone inputs, N x 3 x H x W, normalized, from images of 1 x H x W x 3, uint8."""
    remaining = iter(tensors)
    while batch := [tensor for _, tensor in zip(range(_BATCH), remaining, strict=False)]:
        yield normalized_image_batch(batch)


def normalized_image_batch(images: Sequence[NDArray[Any]]) -> Tensor:
    """Returns one batch of backbone inputs, N x 3 x H x W, normalized, from images of 1 x H x W x 3, uint8."""
    return (torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).float() - MEAN) / STD


def extract_int8_features(
    model: onnx.ModelProto, names: list[str], tensors: Iterable[NDArray[Any]]
) -> Iterator[list[Tensor]]:
    """Yields the dequantized features of each image from a quantized model.

    Args:
        model: QDQ graph with integer input
        names: names of the feature tensors in the float graph
        tensors: images of 1 x H x W x 3, uint8
    """
    graph = model.graph
    quantized = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    dequantized = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    outputs = [dequantized[quantized[name]] for name in names]
    extended = add_outputs(model, outputs, onnx.TensorProto.FLOAT)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT_KERNELS_OPTION)
    session = onnxruntime.InferenceSession(extended.SerializeToString(), options, providers=["CPUExecutionProvider"])
    input_name = graph.input[0].name
    for tensor in tensors:
        yield [torch.from_numpy(level) for level in session.run(outputs, {input_name: tensor})]


def add_outputs(model: onnx.ModelProto, names: Iterable[str], element_type: int) -> onnx.ModelProto:
    """Returns a copy of a model with the tensors `names`, of type `element_type`, as additional outputs."""
    extended: onnx.ModelProto = onnx.ModelProto.FromString(model.SerializeToString())
    added = sorted(set(names) - {value.name for value in extended.graph.output})
    extended.graph.output.extend(onnx.helper.make_tensor_value_info(name, element_type, None) for name in added)
    return extended
