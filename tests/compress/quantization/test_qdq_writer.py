"""The writer of int8 ONNX models."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vedette.compress.graph.editing import read_initializers
from vedette.compress.quantization.qdq_writer import quantize_with_ranges


def test_layers_that_share_weights_load_where_weights_become_unsigned():
    rng = np.random.default_rng(0)
    first, shared = (rng.normal(0, 0.3, shape).astype(np.float32) for shape in [(4, 3, 3, 3), (4, 4, 3, 3)])
    chain = [("image", "first", "a"), ("a", "shared", "b"), ("b", "shared", "c"), ("c", "shared", "scores")]
    nodes = [
        helper.make_node("Conv", [read, weight], [made], name=f"to {made}", pads=[1, 1, 1, 1])
        for read, weight, made in chain
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, 8, 8])
        for name, n in [("image", 3), ("scores", 4)]
    ]
    weights = [numpy_helper.from_array(values, name) for name, values in [("first", first), ("shared", shared)]]
    model = helper.make_model(
        helper.make_graph(nodes, "tied", ends[:1], ends[1:], weights),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    ranges = dict.fromkeys(["image", "a", "b", "c", "scores"], (-8.0, 8.0))

    int8 = quantize_with_ranges(model, ranges, {"image": np.zeros((1, 3, 8, 8), np.float32)})

    dequantized = {node.output[0]: node.input[0] for node in int8.graph.node if node.op_type == "DequantizeLinear"}
    names = [dequantized[node.input[1]] for node in int8.graph.node if node.op_type == "Conv"]
    values = read_initializers(int8.graph)
    assert len(set(names)) == 4
    assert all((values[name] == values[names[1]]).all() for name in names[2:])
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(int8.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.full((1, 8, 8, 3), 200, np.uint8)})[0].shape == (1, 4, 8, 8)
    onnx.checker.check_model(int8)
