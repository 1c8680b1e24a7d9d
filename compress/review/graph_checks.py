"""Container and graph: is each model file only arithmetic on its own data?

A signature says who made a bundle, not that its models are harmless. ONNX can read other files (external data), call
operators that a library adds, loop for ever, or declare tensors of any size; TFLite can point outside its own bytes.
Scanners for malicious models look for Python code in pickles, and find nothing in either format. So the bounds checks
with which a device starts (onnx_checks.py, tflite_checks.py) allow what the workshop writes and refuse everything else.
Here their answer is a finding, beside what harms no device: numbers that make every answer wrong, and addresses.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from vedette.runtime.bundle.binary_formats import ModelFileError
from vedette.runtime.bundle.compiled_model import check_compiled_file
from vedette.runtime.bundle.manifest import ONNX, TFLITE, Manifest
from vedette.runtime.bundle.onnx_checks import check_onnx_file
from vedette.runtime.bundle.tflite_checks import check_tflite_file

from ..graph.editing import read_initializers
from .finding import Finding, Severity

MAX_TENSOR_BYTES = 4 << 30
"""Of all tensors of a model together: what the largest device allows (twice `self_test.MAX_MODEL_MEMORY`)."""
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
    for name, each in sorted(manifest.compiled.items()):
        found += check_compiled(name, each.file, members.get(each.file, b""))
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
        check_onnx_file(content, MAX_TENSOR_BYTES)
        model = onnx.load_from_string(content)
        constants = read_initializers(model.graph)
    except (ModelFileError, DecodeError, ValueError, TypeError) as error:
        yield _finding("high", "no device loads model.onnx", str(error))
        return
    for entry in model.metadata_props:
        if "://" in entry.value:
            yield _finding("low", f"model.onnx has an address in its metadata ({entry.key})", entry.value[:80])
    for name, values in constants.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            yield _finding("high", f"{name!r} in model.onnx holds numbers that are not finite", "NaN or infinity")
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            for name in node.input[1:2]:
                if name in constants and not (constants[name] > 0).all():
                    yield _finding("high", "model.onnx has a quantization scale that is not positive", name)


def check_tflite(content: bytes) -> Iterator[Finding]:
    """Findings about a TFLite file."""
    try:
        check_tflite_file(content, MAX_TENSOR_BYTES)
    except ModelFileError as error:
        yield _finding("high", "no device loads model.tflite", str(error))


def check_compiled(backend: str, member: str, content: bytes) -> Iterator[Finding]:
    """Findings about a model that a vendor's compiler made, of which nobody else can read the inside."""
    try:
        check_compiled_file(backend, content, MAX_TENSOR_BYTES)
    except ModelFileError as error:
        yield _finding("high", f"no device loads {member}", str(error))
        return
    what = f"{member} holds a compiled part, which only the accelerator's library can read"
    remedy = "compile it yourself from the sources that you know, or leave --for out"
    yield Finding("info", "graph", what, f"compiled for {backend}", remedy)


def _finding(severity: Severity, what: str, evidence: str) -> Finding:
    return Finding(severity, "graph", what, evidence, REBUILD if severity == "high" else "build the bundle again")
