"""Import of the user's classifier or embedding network as a lowered float ONNX model.

The runtime applies one mean and one standard deviation to RGB pixels. Everything else that the network expects becomes
part of the graph: another channel order is folded into the first weights where possible, and a normalization that
differs by channel becomes a convolution of 3 x 3 numbers before all others. A softmax at the end is removed because the
runtime applies it; a normalization to unit length is removed because cosine similarity does not depend on length.

A torch module or a TorchScript file is code: the import runs it with the user's rights.
"""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.errors import ConfigProblem

from ...goal.goal_tables import ModelTable
from ...goal.imported_model_checks import expand_per_channel
from ..editing import (
    add_initializer,
    find_consumers,
    list_inputs,
    map_initializers,
    map_producers,
    read_shape,
    remove_unused_nodes,
    rename_tensors,
    replace_initializer,
)
from ..torch_export import export_module
from .lowering import lower_graph
from .onnx_file import canonicalize_graph, first_line, read_onnx_file

DEFAULT_INPUT_SIZE = 224
"""Pixels of a side if neither the goal file nor the network sets the size."""


class ImportedNetwork(NamedTuple):
    """A classifier or embedding network, ready to be quantized."""

    model: onnx.ModelProto
    """Float and lowered; its one output is a row of K numbers."""
    input_spec: ModelInput


def load_imported_network(goal_folder: Path, settings: ModelTable, output: str) -> ImportedNetwork:
    """Load the network that the goal file's table `[model]` names.

    Args:
        goal_folder: folder of the goal file; paths in `settings` are relative to it
        settings: the table `[model]`
        output: name that the output of 1 x K numbers gets

    Raises:
        ConfigProblem: the network cannot be read or exported, or does not map one image to one row of numbers
    """
    source = f"model.onnx: {goal_folder / settings.onnx}" if settings.onnx else f"model.torch: {settings.torch}"
    if settings.onnx:
        model = read_onnx_file(goal_folder / settings.onnx)
    else:
        model = _export_torch(goal_folder, str(settings.torch), settings, source)
    model = _remove_final_normalization(canonicalize_graph(model, _requested_size(model, settings), source), source)
    model, mean, std = prepend_normalization(model, settings)
    model = _name_output(lower_graph(model), output, source)
    image = model.graph.input[0]
    height, width = read_shape(image)[2:]
    return ImportedNetwork(model, ModelInput(image.name, width, height, mean, std, 1 / std, round(mean)))


def count_outputs(model: onnx.ModelProto) -> int:
    """Number of elements of the model's first output."""
    return int(np.prod(read_shape(model.graph.output[0])))


def _requested_size(model: onnx.ModelProto, settings: ModelTable) -> tuple[int, int] | None:
    """Height and width that the goal file requests; None: those of the network."""
    images = list_inputs(model.graph)
    sides = read_shape(images[0])[2:] if images else ()
    requested = settings.side or DEFAULT_INPUT_SIZE
    return None if all(sides) and requested == DEFAULT_INPUT_SIZE else (requested, requested)


def _export_torch(goal_folder: Path, name: str, settings: ModelTable, source: str) -> onnx.ModelProto:
    """ONNX graph of a TorchScript file or of the module that `module:function` returns."""
    size = settings.side or DEFAULT_INPUT_SIZE
    hint = "model.torch must be, or return, a torch.nn.Module that maps N x 3 x H x W to one tensor"
    script = ":" not in name
    network: Any
    try:
        network = torch.jit.load(goal_folder / name) if script else _call_function(goal_folder, name)  # type: ignore[no-untyped-call]
        if not isinstance(network, torch.nn.Module):
            raise ConfigProblem(f"{source}: returns a {type(network).__name__}, no module", hint=hint)
        if not script:
            return export_module(network, size, ("output",))
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            example = (torch.zeros(1, 3, size, size),)
            # The newer exporter needs source code, which a TorchScript file does not have.
            torch.onnx.export(network.eval(), example, buffer, dynamo=False, opset_version=17)  # type: ignore[arg-type]
        buffer.seek(0)
        return onnx.load(buffer)
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigProblem(f"{source}: {first_line(error)}", hint=hint) from error


def _call_function(goal_folder: Path, name: str) -> Any:
    """What `module:function` returns, with the goal file's folder on the import path."""
    module, _, function = name.partition(":")
    sys.path.insert(0, str(goal_folder.absolute()))
    try:
        return getattr(importlib.import_module(module), function)()
    finally:
        sys.path.remove(str(goal_folder.absolute()))


def _remove_final_normalization(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """Remove a final softmax or division by the vector's length, in place."""
    graph = model.graph
    if len(graph.output) != 1:
        hint = "export the network with one output: class scores or an embedding"
        raise ConfigProblem(f"{source}: {len(graph.output)} outputs instead of one", hint=hint)
    producers = map_producers(graph)
    last = producers[graph.output[0].name]
    normalizes = last.op_type in ("Softmax", "LpNormalization", "LogSoftmax")
    if normalizes or (last.op_type == "Div" and _divides_by_length(last, producers)):
        values = {value.name: value for value in graph.value_info}
        graph.output[0].CopyFrom(values[last.input[0]])
        remove_unused_nodes(graph)
    return model


def _divides_by_length(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> bool:
    """Whether a Div divides a vector by its own Euclidean length."""
    divisor = producers.get(node.input[1])
    while divisor is not None and divisor.op_type in ("Clip", "Max", "Expand", "Add"):
        divisor = producers.get(divisor.input[0])
    return divisor is not None and divisor.op_type == "ReduceL2" and divisor.input[0] == node.input[0]


def prepend_normalization(model: onnx.ModelProto, settings: ModelTable) -> tuple[onnx.ModelProto, float, float]:
    """Make a model take RGB pixels of one mean and one standard deviation, in place.

    Returns:
        The model, and the mean and standard deviation that remain for the runtime: those of the goal file if all
        channels have the same, else 0 and 1, with the normalization as the first convolution of the graph.
    """
    graph = model.graph
    image, initializers = graph.input[0].name, map_initializers(graph)
    mean, std = np.array(expand_per_channel(settings.mean)), np.array(expand_per_channel(settings.std))
    bgr = settings.order == "bgr"
    uniform = len(set(mean)) == len(set(std)) == 1 and float(mean[0]).is_integer()
    consumers = find_consumers(graph, image)
    takes_pixels = all(node.op_type == "Conv" and node.input[1] in initializers for node in consumers)
    weights = [initializers[name] for name in {node.input[1] for node in consumers}] if takes_pixels else []
    if uniform and bgr and takes_pixels and all(weight.dims[1] == 3 for weight in weights):
        for tensor in weights:
            replace_initializer(tensor, numpy_helper.to_array(tensor)[:, ::-1].copy())
        bgr = False
    if uniform and not bgr:
        return model, float(mean[0]), float(std[0])
    weight = np.eye(3)[::-1] if bgr else np.eye(3)
    result = f"{image}/normalised"  # tensor names are part of the built models
    for node in consumers:
        for position, name in enumerate(node.input):
            node.input[position] = result if name == image else name
    values = {"weight": (weight / std[:, None])[..., None, None], "bias": -mean / std}
    inputs = [image, *(add_initializer(graph, f"{result}/{key}", v.astype(np.float32)) for key, v in values.items())]
    graph.node.insert(0, helper.make_node("Conv", inputs, [result], name=f"{result}/conv"))
    return model, 0.0, 1.0


def _name_output(model: onnx.ModelProto, output: str, source: str) -> onnx.ModelProto:
    """Name the only output `output`, in place, and check that it is a row of at least two numbers."""
    graph = model.graph
    shape = list(read_shape(graph.output[0])) if len(graph.output) == 1 else []
    if len([size for size in shape if size > 1]) > 1 or int(np.prod(shape or [0])) < 2:
        hint = "end the network with one row of numbers: class scores or an embedding"
        raise ConfigProblem(f"{source}: its output has the shape {shape} instead of one row of numbers", hint=hint)
    rename_tensors(graph, {graph.output[0].name: output})
    graph.output[0].name = output
    return model
