"""Reads the user's ONNX file and brings it to one canonical graph for one image.

The file is treated as data, and checked before a library reads it: weights in other files are refused, because their
paths could name any file of this machine, and so are loops and tensors larger than the memory. ONNX Runtime folds
constants and batch normalization; shape inference makes all shapes known for one image.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from vedette.runtime.bundle.binary_formats import ModelFileError
from vedette.runtime.bundle.onnx_checks import check_onnx_file
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.process_limits import read_memory_limit

from ..editing import copy_model, list_inputs, read_shape

OPSET = 20
_SESSION_ERRORS = (
    *(RuntimeError, ValueError, ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.InvalidGraph),
    *(ort_errors.InvalidProtobuf, ort_errors.NotImplemented, ort_errors.RuntimeException),
)
_HINT = "export it again: float, one image input N x 3 x H x W, opset 11 to 20, weights inside the file"


def read_onnx_file(path: Path) -> onnx.ModelProto:
    """Read and check an ONNX file.

    Raises:
        ConfigProblem: the file is no ONNX file, or its weights are in other files
    """
    try:
        content = path.read_bytes()
        check_onnx_file(content, read_memory_limit(), branches=True)
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except ModelFileError as error:
        raise ConfigProblem(f"{path}: not a usable ONNX file: {error}", hint=_HINT) from None
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise ConfigProblem(f"{path}: not a usable ONNX file: {first_line(error)}", hint=_HINT) from None
    return model


def canonicalize_graph(model: onnx.ModelProto, size: tuple[int, int] | None, source: str) -> onnx.ModelProto:
    """Copy of `model` for one image, with known shapes and folded constants, in opset 20.

    Args:
        model: one float image input, N x 3 x H x W
        size: height and width where the graph leaves them open; None: the graph sets them
        source: name of the model in messages

    Raises:
        ConfigProblem: the input is no such image, or the opset conversion, ONNX Runtime or shape inference fails
    """
    model = copy_model(model)
    graph = model.graph
    images = list_inputs(graph)
    if len(images) != 1:
        raise ConfigProblem(f"{source}: {len(images)} inputs instead of one image", hint=_HINT)
    for value in [value for value in graph.input if value not in images]:
        graph.input.remove(value)
    image_type = images[0].type.tensor_type
    if image_type.elem_type != onnx.TensorProto.FLOAT or len(image_type.shape.dim) != 4:
        raise ConfigProblem(f"{source}: its input is no float image N x 3 x H x W", hint=_HINT)
    shape = list(read_shape(images[0]))
    sides = [fixed or open_side for fixed, open_side in zip(shape[2:], size or (0, 0), strict=True)]
    if shape[1] not in (0, 3) or shape[0] > 1:
        raise ConfigProblem(f"{source}: its input is {shape} instead of one image of 3 channels", hint=_HINT)
    if not all(sides) or (size is not None and tuple(sides) != size):
        hint = "set model.input to the pixels of a side, or leave it out if the file fixes the size"
        raise ConfigProblem(f"{source}: its input has the size {shape[2:]}, not that of model.input", hint=hint)
    for dim, value in zip(image_type.shape.dim, (1, 3, *sides), strict=True):
        dim.Clear()
        dim.dim_value = value
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    _omit_empty_resize_inputs(graph)
    try:
        model = onnx.version_converter.convert_version(model, OPSET)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise ConfigProblem(
            f"{source}: cannot be converted to opset {OPSET}: {first_line(error)}", hint=_HINT
        ) from None
    return _fold_constants(model, source)


def _fold_constants(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """The model after ONNX Runtime's basic graph optimizations, with inferred shapes."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "plain.onnx")
        options.log_severity_level = 4
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except _SESSION_ERRORS as error:
            raise ConfigProblem(f"{source}: ONNX Runtime rejects it: {first_line(error)}", hint=_HINT) from None
        model = onnx.load(options.optimized_model_filepath)
    for entry in [entry for entry in model.opset_import if entry.domain]:
        model.opset_import.remove(entry)
    model.ir_version = 10
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ConfigProblem(f"{source}: shape inference fails: {first_line(error)}", hint=_HINT) from None


def _omit_empty_resize_inputs(graph: onnx.GraphProto) -> None:
    """Omit optional inputs of Resize that hold an empty constant, as old exporters write them."""
    empty = {value.name for value in graph.initializer if 0 in value.dims}
    empty |= {n.output[0] for n in graph.node if n.op_type == "Constant" and any(0 in a.t.dims for a in n.attribute)}
    for node in graph.node:
        if node.op_type == "Resize":
            for position, name in enumerate(node.input):
                if position and (name in empty or position == 1):
                    node.input[position] = ""


def first_line(error: BaseException) -> str:
    """First line of an error message, cut to 200 characters."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
