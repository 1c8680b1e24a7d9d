"""Sizes that an exporter wrote into a network: rows and columns in the reshapes of channel shuffles and in resizes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from ..editing import copy_model, map_initializers, read_shape


def scale_fixed_sizes(model: onnx.ModelProto, own: tuple[int, int], size: tuple[int, int]) -> onnx.ModelProto | None:
    """Copy of a graph whose fixed rows and columns are those of an input of another size; None: it has none.

    A Reshape that leaves the last two axes as they are, such as 1 x 116 x 40 x 40 to 1 x 2 x 58 x 40 x 40, works for
    any size if its shape does, and so does a Resize to fixed sizes. Where rows or columns do not divide evenly they
    stay as they are, and the graph fails at the new size.

    Args:
        model: canonical graph with known shapes
        own: height and width of its input
        size: the new height and width
    """
    scaled = copy_model(model)
    graph, constants = scaled.graph, map_initializers(scaled.graph)
    shapes = {value.name: read_shape(value) for value in (*graph.value_info, *graph.input)}
    found = False
    for number, node in enumerate(graph.node):
        place = {"Reshape": 1, "Resize": 3}.get(node.op_type, len(node.input))
        if place >= len(node.input) or node.input[place] not in constants:
            continue
        before = list(shapes.get(node.input[0], ()))
        after = [int(each) for each in numpy_helper.to_array(constants[node.input[place]])]
        if min(len(before), len(after)) < 4 or (node.op_type == "Reshape" and before[-2:] != after[-2:]):
            continue
        sides = [side * new / old for side, new, old in zip(after[-2:], size, own, strict=True)]
        if any(side % 1 for side in sides):
            continue
        name = f"{node.input[place]}/{number}"
        graph.initializer.append(numpy_helper.from_array(np.array([*after[:-2], *map(int, sides)]), name))
        node.input[place], found = name, True
    return scaled if found else None
