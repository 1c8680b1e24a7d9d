"""The user's ONNX file, as one plain graph of one image.

What it holds is data and stays so: weights in other files are refused, for their paths could name anything on this
machine. ONNX Runtime folds constants and batch normalisations; the shapes are made known, one image at a time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx.external_data_helper import uses_external_data
from onnxruntime.capi import onnxruntime_pybind11_state as refusals

from vedette.runtime.errors import ConfigProblem

OPSET = 20
_REFUSALS = (
    *(RuntimeError, ValueError, refusals.Fail, refusals.InvalidArgument, refusals.InvalidGraph),
    *(refusals.InvalidProtobuf, refusals.NotImplemented, refusals.RuntimeException),
)
_HINT = "export it again: float, one image input N x 3 x H x W, opset 11 to 20, weights inside the file"


def read(path: Path) -> onnx.ModelProto:
    """The graph in the file.

    Raises:
        ConfigProblem: it is no ONNX file, or its weights are in other files.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        inside = (each.t for node in model.graph.node for each in node.attribute)
        if any(uses_external_data(value) for value in (*model.graph.initializer, *inside)):
            raise ConfigProblem(f"{path}: its weights are in other files, which are not opened", hint=_HINT)
        onnx.checker.check_model(model)
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise ConfigProblem(f"{path}: no usable ONNX file: {_first(error)}", hint=_HINT) from None
    return model


def plain(model: onnx.ModelProto, size: tuple[int, int] | None, where: str) -> onnx.ModelProto:
    """The same for one image, with known shapes and constants folded, in opset 20.

    Args:
        model: one image input, N x 3 x H x W
        size: height and width, where the graph leaves them open
        where: what the model is called in messages

    Raises:
        ConfigProblem: it is not such a model, or ONNX Runtime refuses it.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    fixed = {value.name for value in graph.initializer}
    images = [value for value in graph.input if value.name not in fixed]
    if len(images) != 1:
        raise ConfigProblem(f"{where}: {len(images)} inputs, one image is wanted", hint=_HINT)
    for value in [value for value in graph.input if value.name in fixed]:
        graph.input.remove(value)  # old files list their weights there too
    kind = images[0].type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT or len(kind.shape.dim) != 4:
        raise ConfigProblem(f"{where}: its input is no float image N x 3 x H x W", hint=_HINT)
    given = [dim.dim_value for dim in kind.shape.dim]
    asked = size or (0, 0)
    sides = [have or want for have, want in zip(given[2:], asked, strict=True)]
    if given[1] not in (0, 3) or given[0] > 1:
        raise ConfigProblem(f"{where}: its input is {given}, one image of 3 channels is wanted", hint=_HINT)
    if not all(sides) or (size is not None and tuple(sides) != size):
        hint = "say the pixels of a side as model.input, or leave it out where the file says them"
        raise ConfigProblem(f"{where}: its input has the size {given[2:]}, not that of model.input", hint=hint)
    for dim, value in zip(kind.shape.dim, (1, 3, *sides), strict=True):
        dim.Clear()
        dim.dim_value = value
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    _leave_out_empty(graph)
    try:
        model = onnx.version_converter.convert_version(model, OPSET)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise ConfigProblem(f"{where}: cannot be brought to opset {OPSET}: {_first(error)}", hint=_HINT) from None
    return _folded(model, where)


def _folded(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "plain.onnx")
        options.log_severity_level = 4
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except _REFUSALS as error:
            raise ConfigProblem(f"{where}: ONNX Runtime refuses it: {_first(error)}", hint=_HINT) from None
        model = onnx.load(options.optimized_model_filepath)
    for entry in [entry for entry in model.opset_import if entry.domain]:
        model.opset_import.remove(entry)
    model.ir_version = 10
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ConfigProblem(f"{where}: its shapes cannot be told: {_first(error)}", hint=_HINT) from None


def _leave_out_empty(graph: onnx.GraphProto) -> None:
    """Old exporters give Resize empty constants for what it should not be given at all."""
    empty = {value.name for value in graph.initializer if 0 in value.dims}
    empty |= {n.output[0] for n in graph.node if n.op_type == "Constant" and any(0 in a.t.dims for a in n.attribute)}
    for node in graph.node:
        if node.op_type == "Resize":
            for place, name in enumerate(node.input):
                if place and (name in empty or place == 1):
                    node.input[place] = ""


def _first(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
