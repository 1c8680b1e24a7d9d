"""What happens to pixels first becomes part of the first convolution, where it costs nothing.

Focus           YOLOX and its like lay each square of two by two pixels into twelve channels before the first
                convolution, of 3 x 3. One of 6 x 6 that goes two pixels at a time computes the same sums
mean, spread    one for each channel goes into the weights and the bias. What pads the picture's edge then has the
                common mean and not its channel's: a fifth of a spread for what NanoDet was trained with, and only
                at the edge. That is the imprecision; the float model that int8 is held against has it, too
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


def unfolded(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with every space-to-depth in the convolution that reads it, changed in place."""
    graph = model.graph
    constants = {value.name: value for value in graph.initializer}
    channels = {graph.input[0].name: 3}
    for node in [each for each in graph.node if each.op_type == "SpaceToDepth" and each.input[0] in channels]:
        block = helper.get_node_attr_value(node, "blocksize")
        trail, order = [node], np.arange(3 * block**2)
        reader = _reader(graph, node.output[0])
        if reader is not None and reader.op_type == "Gather" and reader.input[1] in constants:
            axis = [a.i for a in reader.attribute if a.name == "axis"]
            order = numpy_helper.to_array(constants[reader.input[1]])
            trail.append(reader)
            reader = _reader(graph, reader.output[0]) if axis == [1] else None
        how = {} if reader is None else {a.name: helper.get_attribute_value(a) for a in reader.attribute}
        plain = (
            how.get("group", 1) == 1
            and set(how.get("dilations", (1,))) == {1}
            and how.get("auto_pad", b"NOTSET") == b"NOTSET"
        )
        if reader is None or reader.op_type != "Conv" or reader.input[1] not in constants or not plain:
            continue
        name = f"{reader.output[0]}/pixels/weight"
        weight = _spread(numpy_helper.to_array(constants[reader.input[1]]), order, block)
        graph.initializer.append(numpy_helper.from_array(weight, name))
        inputs = [node.input[0], name, *reader.input[2:]]
        pads = [block * each for each in how.get("pads", (0, 0, 0, 0))]
        strides = [block * each for each in how.get("strides", (1, 1))]
        made = helper.make_node("Conv", inputs, [reader.output[0]], name=reader.name, pads=pads, strides=strides)
        graph.node.insert(list(graph.node).index(reader), made)
        for each in (*trail, reader):
            graph.node.remove(each)
    return model


def _reader(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    """The one node that reads `name`; None: there are others."""
    found = [node for node in graph.node if name in node.input]
    return found[0] if len(found) == 1 else None


def _spread(weight: NDArray[Any], order: NDArray[Any], block: int) -> NDArray[np.float32]:
    """Of kernels over squares, those over pixels: outputs x 3 x (rows · block) x (columns · block)."""
    outputs, _, rows, columns = weight.shape
    made = np.zeros((outputs, 3, rows * block, columns * block), np.float32)
    for place, channel in enumerate(order):
        square, colour = divmod(int(channel), 3)
        down, right = divmod(square, block)
        made[:, colour, down::block, right::block] = weight[:, place]
    return made


def normalised(
    model: onnx.ModelProto, mean: NDArray[Any], std: NDArray[Any], swapped: bool
) -> tuple[onnx.ModelProto, float, float] | None:
    """`model` for red-green-blue pixels of one mean and one spread, and these; None: no convolution can take it.

    Args:
        model: float, its image normalised; changed in place
        mean: of each channel, in the order of the network
        std: of each channel
        swapped: that order is blue-green-red
    """
    graph = model.graph
    image, constants = graph.input[0].name, {value.name: value for value in graph.initializer}
    readers = [node for node in graph.node if image in node.input]
    weights = [constants.get(node.input[1]) for node in readers if node.op_type == "Conv"]
    if len(weights) < len(readers) or any(each is None or each.dims[1] != 3 for each in weights):
        return None
    middle, spread = float(round(mean.mean())), float(std.mean())
    for number, node in enumerate(readers):
        weight = numpy_helper.to_array(constants[node.input[1]]).astype(np.float64)
        shift = (weight.sum(axis=(2, 3)) * ((middle - mean) / std)).sum(axis=1)
        weight = weight * (spread / std)[:, None, None]
        bias = numpy_helper.to_array(constants[node.input[2]]) if len(node.input) > 2 else np.zeros(len(weight))
        names = [f"{image}/{number}/{what}" for what in ("weight", "bias")]
        if swapped:
            weight = weight[:, ::-1]
        for name, values in zip(names, (weight, bias + shift), strict=True):
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        inputs = [image, *names]
        del node.input[:]
        node.input.extend(inputs)
    return model, middle, spread
