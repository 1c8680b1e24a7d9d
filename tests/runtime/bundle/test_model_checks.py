"""The checks of model files take any bytes, and refuse what no model of a bundle needs."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import onnx
import pytest
from altered_bundles import stored_bundle
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vedette.runtime.bundle.binary_formats import ModelFileError
from vedette.runtime.bundle.onnx_checks import check_onnx_file
from vedette.runtime.bundle.tflite_checks import check_tflite_file

MEMORY = 64 << 20
CHECKS = {"onnx": check_onnx_file, "tflite": check_tflite_file}
MODELS = {name: stored_bundle().model(name) for name in CHECKS}


@pytest.mark.parametrize("name", CHECKS)
def test_models_of_a_bundle_pass(name):
    CHECKS[name](MODELS[name], MEMORY)


@pytest.mark.parametrize("name", CHECKS)
def test_tensors_that_do_not_fit_the_memory_are_refused(name):
    with pytest.raises(ModelFileError, match="MB"):
        CHECKS[name](MODELS[name], 1000)


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("end", [0, 1, 7, 8, 100, 1000, -1000, -1])
def test_truncated_files_are_refused(name, end):
    with pytest.raises(ModelFileError):
        CHECKS[name](MODELS[name][:end], MEMORY)


@pytest.mark.parametrize("name", CHECKS)
@given(data=st.data())
def test_any_bytes_pass_or_are_refused(name, data):
    """No other exception than a ModelFileError, whatever was changed."""
    content = bytearray(MODELS[name])
    places = st.integers(0, len(content) - 1) | st.integers(0, 400) | st.integers(-400, -1)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(places)] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelFileError):
        CHECKS[name](bytes(content), MEMORY)


def model(nodes=(), initializers=(), domain="", shape=(1,)):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph(list(nodes), "graph", [value], [value], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, 20)])


def external():
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "weights")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def claiming(shape, content=b"\0" * 16):
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=shape, raw_data=content)


def branch(tensor):
    body = helper.make_graph([helper.make_node("Constant", [], ["y"], value=tensor)], "body", [], [])
    return helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (model(initializers=[external()]), "other files"),
        (model([helper.make_node("Constant", [], ["w"], value=external())]), "other files"),
        (model([branch(external())]), "graph of its own"),
        (model([helper.make_node("Loop", ["x"], ["y"], body=model().graph)]), "never end"),
        (model([helper.make_node("Abs", ["x"], ["y"], domain="org.example")]), "domain"),
        (model(domain="org.example"), "domain"),
        (model(initializers=[claiming([1 << 30, 1 << 30])]), "MB"),
        (model(initializers=[claiming([3])]), "bytes instead"),
        (model(initializers=[claiming([-1])]), "shape"),
        (model(initializers=[claiming([1000], b"")]), "no values"),
        (model(initializers=[helper.make_tensor("w", TensorProto.STRING, [1], [b"text"])]), "type 8"),
        (model(shape=(1 << 20, 1 << 20)), "MB"),
    ],
)
def test_what_no_model_of_a_bundle_needs_is_refused(made, word):
    with pytest.raises(ModelFileError, match=word):
        check_onnx_file(made.SerializeToString(), MEMORY)


def test_files_of_other_programs_may_branch_but_not_reach_out():
    weights = numpy_helper.from_array(np.zeros(4, np.float32))
    check_onnx_file(model([branch(weights)], domain="org.example").SerializeToString(), MEMORY, branches=True)
    for made in (model([branch(external())]), model([helper.make_node("Scan", ["x"], ["y"], body=model().graph)])):
        with pytest.raises(ModelFileError):
            check_onnx_file(made.SerializeToString(), MEMORY, branches=True)


def test_deeply_nested_graphs_are_refused():
    graph = model().graph
    for _ in range(30):
        node = helper.make_node("If", ["x"], ["y"])
        node.attribute.append(onnx.AttributeProto(name="then_branch", g=graph, type=onnx.AttributeProto.GRAPH))
        graph = helper.make_graph([node], "outer", [], [])
    with pytest.raises(ModelFileError, match="nested"):
        check_onnx_file(helper.make_model(graph).SerializeToString(), MEMORY, branches=True)


def test_eight_bytes_are_no_tflite_model():
    with pytest.raises(ModelFileError):
        check_tflite_file(struct.pack("<I", 4) + b"TFL3", MEMORY)


def test_custom_operators_are_for_files_of_other_programs():
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    import flatbuffers

    made = schema.ModelT.InitFromObj(schema.Model.GetRootAs(MODELS["tflite"], 0))
    made.operatorCodes[0].builtinCode = 32
    made.operatorCodes[0].deprecatedBuiltinCode = 32
    made.operatorCodes[0].customCode = b"Foreign"
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(made.Pack(builder), file_identifier=b"TFL3")
    content = bytes(builder.Output())
    check_tflite_file(content, MEMORY, custom_operators=True)
    with pytest.raises(ModelFileError, match="CUSTOM"):
        check_tflite_file(content, MEMORY)
    made.subgraphs = made.subgraphs * 2
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(made.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(ModelFileError, match="2 graphs"):
        check_tflite_file(bytes(builder.Output()), MEMORY, custom_operators=True)
