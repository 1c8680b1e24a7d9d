"""Folds preprocessing into the first convolution, where it costs nothing.

Space-to-depth   YOLOX and similar networks (the layer "Focus") rearrange each 2 x 2 block of pixels into twelve
                 channels before the first 3 x 3 convolution. A 6 x 6 convolution with stride 2 computes the same sums.
Normalization    The mean and standard deviation of each channel go into weights and bias. The padding at the image's
                 edge then has the common mean instead of its channel's: a fifth of a standard deviation for the values
                 that NanoDet was trained with, only at the edge. The float model that int8 is compared with has the
                 same imprecision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ..editing import (
    add_initializer,
    find_consumers,
    find_only_consumer,
    map_initializers,
    read_attributes,
    remove_nodes,
    replace_node,
)


def fold_space_to_depth(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold each space-to-depth of the image into the convolution that reads it, in place.

    A Gather that permutes the channels may stand between the two. Other patterns stay as they are.
    """
    graph = model.graph
    initializers = map_initializers(graph)
    image = graph.input[0].name
    for node in [each for each in graph.node if each.op_type == "SpaceToDepth" and each.input[0] == image]:
        block = read_attributes(node)["blocksize"]
        folded, order = [node], np.arange(3 * block**2)
        consumer = find_only_consumer(graph, node.output[0])
        if consumer is not None and consumer.op_type == "Gather" and consumer.input[1] in initializers:
            axis = read_attributes(consumer).get("axis")
            order = numpy_helper.to_array(initializers[consumer.input[1]])
            folded.append(consumer)
            consumer = find_only_consumer(graph, consumer.output[0]) if axis == 1 else None
        attributes = {} if consumer is None else read_attributes(consumer)
        plain = (
            attributes.get("group", 1) == 1
            and set(attributes.get("dilations", (1,))) == {1}
            and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
        )
        if consumer is None or consumer.op_type != "Conv" or consumer.input[1] not in initializers or not plain:
            continue
        weight = _rearrange_kernels(numpy_helper.to_array(initializers[consumer.input[1]]), order, block)
        name = add_initializer(graph, f"{consumer.output[0]}/pixels/weight", weight)
        inputs = [node.input[0], name, *consumer.input[2:]]
        pads = [block * pad for pad in attributes.get("pads", (0, 0, 0, 0))]
        strides = [block * stride for stride in attributes.get("strides", (1, 1))]
        conv = helper.make_node("Conv", inputs, [consumer.output[0]], name=consumer.name, pads=pads, strides=strides)
        replace_node(graph, consumer, [conv])
        remove_nodes(graph, folded)
    return model


def _rearrange_kernels(weight: NDArray[Any], order: NDArray[Any], block: int) -> NDArray[np.float32]:
    """Kernels over pixels from kernels over blocks: outputs x 3 x (rows · block) x (columns · block).

    Args:
        weight: outputs x channels x rows x columns, over blocks
        order: the space-to-depth channel that each channel of `weight` reads
        block: side of a block in pixels
    """
    outputs, _, rows, columns = weight.shape
    kernels = np.zeros((outputs, 3, rows * block, columns * block), np.float32)
    for channel, source in enumerate(order):
        position, color = divmod(int(source), 3)
        row, column = divmod(position, block)
        kernels[:, color, row::block, column::block] = weight[:, channel]
    return kernels


def fold_normalization(
    model: onnx.ModelProto, mean: NDArray[Any], std: NDArray[Any], bgr: bool
) -> tuple[onnx.ModelProto, float, float] | None:
    """Fold the normalization of the image into the convolutions that read it, in place.

    Args:
        model: float, for a normalized image
        mean: of each channel, in the channel order of the network
        std: standard deviation of each channel
        bgr: whether the network's channel order is blue, green, red

    Returns:
        The model for RGB pixels, and the one mean and standard deviation that it still expects. None if an operator
        other than a convolution of three channels reads the image; the model is then unchanged.
    """
    graph = model.graph
    image, initializers = graph.input[0].name, map_initializers(graph)
    consumers = find_consumers(graph, image)
    weights = [initializers.get(node.input[1]) for node in consumers if node.op_type == "Conv"]
    if len(weights) < len(consumers) or any(each is None or each.dims[1] != 3 for each in weights):
        return None
    common_mean, common_std = float(round(mean.mean())), float(std.mean())
    for number, node in enumerate(consumers):
        weight = numpy_helper.to_array(initializers[node.input[1]]).astype(np.float64)
        shift = (weight.sum(axis=(2, 3)) * ((common_mean - mean) / std)).sum(axis=1)
        weight = weight * (common_std / std)[:, None, None]
        bias = numpy_helper.to_array(initializers[node.input[2]]) if len(node.input) > 2 else np.zeros(len(weight))
        if bgr:
            weight = weight[:, ::-1]
        inputs = [image]
        for key, values in (("weight", weight), ("bias", bias + shift)):
            inputs.append(add_initializer(graph, f"{image}/{number}/{key}", np.ascontiguousarray(values, np.float32)))
        del node.input[:]
        node.input.extend(inputs)
    return model, common_mean, common_std
