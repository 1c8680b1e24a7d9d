"""Networks with rows and columns written inside, at another input size."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vedette.compress.graph.importers.fixed_sizes import scale_fixed_sizes
from vedette.compress.graph.importers.onnx_file import canonicalize_graph


def make_shuffled_network(rows, columns, last):
    """A channel shuffle at half of the size and a Resize back to the whole, as an exporter writes them."""
    half = rows // 2, columns // 2
    constants = {
        "w": np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32),
        "split": np.array([1, 2, 2, *half]),
        "join": np.array([1, 4, *half]),
        "whole": np.array([1, 4, rows, columns]),
        "last": np.array(last),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
        helper.make_node("Reshape", ["c", "split"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["t", "join"], ["j"]),
        helper.make_node("Resize", ["j", "", "", "whole"], ["r"], mode="nearest"),
        helper.make_node("Reshape", ["r", "last"], ["y"]),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, rows, columns])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [image], [end], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def run(model, image):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": image})[0]


def test_shuffles_and_resizes_follow_the_input():
    canonical = canonicalize_graph(make_shuffled_network(64, 64, [0, 0, 64, 64]), None, "net")
    scaled = scale_fixed_sizes(canonical, (64, 64), (32, 96))
    for dim, side in zip(scaled.graph.input[0].type.tensor_type.shape.dim[2:], (32, 96), strict=True):
        dim.dim_value = side
    image = np.random.default_rng(1).normal(size=(1, 3, 32, 96)).astype(np.float32)
    found = run(canonicalize_graph(scaled, (32, 96), "net"), image)
    assert np.array_equal(found, run(make_shuffled_network(32, 96, [0, 0, 32, 96]), image))


def test_a_network_without_fixed_sizes_stays():
    model = make_shuffled_network(64, 64, [1, -1])
    for node in [node for node in model.graph.node if node.op_type != "Conv"]:
        model.graph.node.remove(node)
    model.graph.output[0].name = "c"
    assert scale_fixed_sizes(canonicalize_graph(model, None, "net"), (64, 64), (32, 32)) is None
