"""Container and graph: is each model file only arithmetic on its own data?

A signature says who made a bundle, not that its models are harmless. ONNX can read other files (external data), call
operators that a library adds, loop for ever, or declare tensors of any size; TFLite can point outside its own bytes.
Scanners for malicious models look for Python code in pickles, and find nothing in either format. So these checks allow
what the workshop writes, and report everything else. They parse with onnx and with LiteRT's own schema; the device
checks bounds again, in its own code, before it loads a file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, TensorProto

from vedette.runtime.bundle.manifest import ONNX, TFLITE, Manifest

from ..graph.editing import read_initializers
from .finding import Finding, Severity

STANDARD_DOMAINS = ("", "ai.onnx")
EXECUTABLE = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".py", ".pyc", ".so", ".dll", ".sh", ".h5", ".keras", ".zip")
REBUILD = "do not use this bundle; build it again with vedette build from sources that you know"


def check_graphs(manifest: Manifest, members: dict[str, bytes]) -> Iterator[Finding]:
    """Findings about the members of the bundle and the graphs of both model files."""
    for name in sorted(members):
        if name.endswith(EXECUTABLE):
            yield _finding("high", "the bundle holds a file that could be code", name)
    found = []
    for backend, check in ((ONNX, check_onnx), (TFLITE, check_tflite)):
        content = members.get(manifest.models.get(backend, ""))
        found += [] if content is None else list(check(content))
    yield from found
    if not found:
        yield Finding(
            "info",
            "graph",
            "both model files hold standard operators and their own data alone",
            "ONNX, TFLite",
            "nothing",
        )


def check_onnx(content: bytes) -> Iterator[Finding]:
    """Findings about an ONNX file."""
    try:
        model = onnx.load_from_string(content)
    except (DecodeError, ValueError) as error:
        yield _finding("high", "model.onnx cannot be parsed", str(error))
        return
    tensors = [*model.graph.initializer]
    for node in model.graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t] if attribute.type == AttributeProto.TENSOR else list(attribute.tensors)
            if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                yield _finding(
                    "high", f"model.onnx has a graph inside {node.op_type}, which can run for ever", node.name
                )
        if node.domain not in STANDARD_DOMAINS:
            yield _finding("high", f"model.onnx calls {node.op_type} of another domain", node.domain)
    if model.functions:
        yield _finding("high", "model.onnx defines functions", ", ".join(each.name for each in model.functions))
    for each in model.opset_import:
        if each.domain not in STANDARD_DOMAINS and not any(node.domain == each.domain for node in model.graph.node):
            yield _finding("low", "model.onnx names operators of another domain, unused", each.domain)
    for tensor in tensors:
        yield from _check_tensor(tensor)
    for entry in model.metadata_props:
        if "://" in entry.value:
            yield _finding("low", f"model.onnx has an address in its metadata ({entry.key})", entry.value[:80])
    if not any(found.severity == "high" for tensor in tensors for found in _check_tensor(tensor)):
        yield from _check_scales(model)


def _check_tensor(tensor: TensorProto) -> Iterator[Finding]:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        where = ", ".join(f"{each.key}={each.value}" for each in tensor.external_data)
        yield _finding("high", f"model.onnx reads {tensor.name!r} from another file", where)
        return
    if tensor.data_type == TensorProto.STRING:
        yield _finding("medium", f"model.onnx holds text in {tensor.name!r}", f"{len(tensor.string_data)} strings")
        return
    declared = prod(tensor.dims)
    if declared < 0 or any(each < 0 for each in tensor.dims):
        yield _finding("high", f"{tensor.name!r} in model.onnx has a negative size", str(list(tensor.dims)))
    elif tensor.data_type not in _ELEMENT_BYTES:
        yield _finding("high", f"{tensor.name!r} in model.onnx is of a type that no model needs", str(tensor.data_type))
    elif tensor.raw_data:
        size = declared * _ELEMENT_BYTES[tensor.data_type]
        if size != len(tensor.raw_data):
            evidence = f"{list(tensor.dims)} is {size} bytes, {len(tensor.raw_data)} are there"
            yield _finding("high", f"{tensor.name!r} in model.onnx declares another size than it has", evidence)
    elif declared > 1024 * max(1, tensor.ByteSize()):
        yield _finding("high", f"{tensor.name!r} in model.onnx declares data that it has not", str(list(tensor.dims)))


def _check_scales(model: onnx.ModelProto) -> Iterator[Finding]:
    """A scale of zero, or a number that is none, makes every answer wrong in silence."""
    constants = read_initializers(model.graph)
    for name, values in constants.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            yield _finding("high", f"{name!r} in model.onnx holds numbers that are not finite", "NaN or infinity")
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = constants.get(node.input[1])
            if scale is not None and not (scale > 0).all():
                yield _finding("high", "model.onnx has a quantization scale that is not positive", node.input[1])


def check_tflite(content: bytes) -> Iterator[Finding]:
    """Findings about a TFLite file."""
    if content[4:8] != b"TFL3":
        yield _finding("high", "model.tflite is no TFLite file", content[:8].hex())
        return
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        yield from _check_tflite_model(model, len(content))
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        yield _finding("high", "model.tflite points outside its own bytes", str(error)[:120])


def _check_tflite_model(model: schema.ModelT, size: int) -> Iterator[Finding]:
    codes, buffers = model.operatorCodes or [], model.buffers or []
    for code in codes:
        if code.customCode or max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.CUSTOM:
            yield _finding("high", "model.tflite calls an operator that is not LiteRT's own", str(code.customCode))
    for index, buffer in enumerate(buffers):
        if buffer.offset > 1 and (buffer.offset + buffer.size > size or buffer.size > size):
            yield _finding(
                "high", f"buffer {index} of model.tflite lies outside the file", f"{buffer.offset}+{buffer.size}"
            )
    if len(model.subgraphs or []) != 1:
        yield _finding("high", "model.tflite has not exactly one graph", f"{len(model.subgraphs or [])}")
        return
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        name = bytes(tensor.name or b"").decode(errors="replace")
        if not 0 <= tensor.buffer < len(buffers):
            yield _finding(
                "high", f"tensor {name!r} of model.tflite has no buffer", f"{tensor.buffer} of {len(buffers)}"
            )
            continue
        shape = [] if tensor.shape is None else [int(each) for each in tensor.shape]
        if any(each < 0 for each in shape):
            yield _finding("high", f"tensor {name!r} of model.tflite has a negative size", str(shape))
        data, width = buffers[tensor.buffer].data, _WIDTHS.get(tensor.type)
        if data is not None and len(data) and width is not None and len(data) != prod(shape) * width:
            evidence = f"{shape} is {prod(shape) * width} bytes, {len(data)} are there"
            yield _finding("high", f"tensor {name!r} of model.tflite declares another size than it has", evidence)
    yield from _check_operators(graph, len(codes))


def _check_operators(graph: schema.SubGraphT, codes: int) -> Iterator[Finding]:
    for operator in graph.operators:
        if not 0 <= operator.opcodeIndex < codes:
            yield _finding("high", "model.tflite calls an operator that it does not list", str(operator.opcodeIndex))
        for index in (*(operator.inputs if operator.inputs is not None else ()), *operator.outputs):
            if not -1 <= index < len(graph.tensors):
                yield _finding("high", "an operator of model.tflite uses a tensor that is not there", str(index))


_ELEMENT_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.UINT8: 1,
    TensorProto.INT8: 1,
    TensorProto.INT32: 4,
    TensorProto.INT64: 8,
    TensorProto.BOOL: 1,
    TensorProto.FLOAT16: 2,
    TensorProto.DOUBLE: 8,
}
"""Bytes of an element by type, of the types that the workshop and its importers write."""
_WIDTHS = {
    schema.TensorType.INT8: 1,
    schema.TensorType.UINT8: 1,
    schema.TensorType.INT32: 4,
    schema.TensorType.INT64: 8,
    schema.TensorType.FLOAT32: 4,
    schema.TensorType.FLOAT16: 2,
}
"""Bytes of an element by type."""


def _finding(severity: Severity, what: str, evidence: str) -> Finding:
    return Finding(severity, "graph", what, evidence, REBUILD if severity == "high" else "build the bundle again")
