"""A network of the user's own becomes the float model that everything is measured against.

What is done to its pixels becomes part of it, for the device knows one mean and one spread and red-green-blue: another
order goes into the first weights where it can, and what differs by channel becomes a convolution of three by three
numbers before all others. What a head does to its numbers at last, softmax or a length of one, is taken off: the
runtime does the one, and the angle between two vectors does not know the other.

A module or a TorchScript file is code, and it is run here with this user's rights.
"""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from vedette.runtime.bundle.manifest import Input
from vedette.runtime.errors import ConfigProblem

from ...goal.goal_file import Model
from ...goal.imported_model_checks import triple
from .. import torch_export
from . import onnx_file
from .lowering import lower

DEFAULT = 224  # pixels of a side, where neither file says


def load(base: Path, model: Model, output: str) -> tuple[onnx.ModelProto, Input]:
    """The lowered float graph, its one output called `output`, and how pixels enter it.

    Args:
        base: folder of the goal file
        model: what the goal file says of it
        output: name of 1 x K numbers

    Raises:
        ConfigProblem: it cannot be read or exported, or has not one image in and one row of numbers out.
    """
    where = f"model.onnx: {base / model.onnx}" if model.onnx else f"model.torch: {model.torch}"
    raw = onnx_file.read(base / model.onnx) if model.onnx else _exported(base, str(model.torch), model, where)
    graph = _trimmed(onnx_file.plain(raw, _size(raw, model), where), where)
    graph, mean, std = normalised(graph, model)
    graph = _named(lower(graph), output, where)
    height, width = (dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim[2:])
    return graph, Input(graph.graph.input[0].name, width, height, mean, std, 1 / std, round(mean))


def width(model: onnx.ModelProto) -> int:
    """How many numbers come out."""
    return int(np.prod([dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim]))


def _size(raw: onnx.ModelProto, model: Model) -> tuple[int, int] | None:
    """Height and width asked for; None: what the file says."""
    fixed = {value.name for value in raw.graph.initializer}
    image = next((value for value in raw.graph.input if value.name not in fixed), None)
    sides = [dim.dim_value for dim in image.type.tensor_type.shape.dim[2:]] if image is not None else []
    asked = model.input or DEFAULT
    return None if all(sides) and asked == DEFAULT else (asked, asked)


def _exported(base: Path, name: str, model: Model, where: str) -> onnx.ModelProto:
    size = model.input or DEFAULT
    hint = "it must be, or return, a torch.nn.Module that takes N x 3 x H x W and gives one tensor"
    script = ":" not in name
    network: Any
    try:
        network = torch.jit.load(base / name) if script else _called(base, name)  # type: ignore[no-untyped-call]
        if not isinstance(network, torch.nn.Module):
            raise ConfigProblem(f"{where}: gives a {type(network).__name__}, no module", hint=hint)
        if not script:
            return torch_export.network(network, size, ("output",))
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            example = (torch.zeros(1, 3, size, size),)
            # The newer exporter wants sources, which a TorchScript file has not.
            torch.onnx.export(network.eval(), example, buffer, dynamo=False, opset_version=17)  # type: ignore[arg-type]
        buffer.seek(0)
        return onnx.load(buffer)
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        text = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConfigProblem(f"{where}: {text[:200]}", hint=hint) from error


def _called(base: Path, name: str) -> Any:
    module, _, function = name.partition(":")
    sys.path.insert(0, str(base.absolute()))
    try:
        return getattr(importlib.import_module(module), function)()
    finally:
        sys.path.remove(str(base.absolute()))


def _trimmed(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    graph = model.graph
    if len(graph.output) != 1:
        hint = "export it with the one that counts"
        raise ConfigProblem(f"{where}: {len(graph.output)} outputs, one is wanted", hint=hint)
    makers = {name: node for node in graph.node for name in node.output}
    last = makers[graph.output[0].name]
    ending = last.op_type in ("Softmax", "LpNormalization", "LogSoftmax")
    if ending or (last.op_type == "Div" and _length(last, makers)):
        known = {value.name: value for value in graph.value_info}
        graph.output[0].CopyFrom(known[last.input[0]])
        _sweep(graph)
    return model


def _length(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether what is divided is divided by its own length."""
    maker = makers.get(node.input[1])
    while maker is not None and maker.op_type in ("Clip", "Max", "Expand", "Add"):
        maker = makers.get(maker.input[0])
    return maker is not None and maker.op_type == "ReduceL2" and maker.input[0] == node.input[0]


def _sweep(graph: onnx.GraphProto) -> None:
    """Takes out what nothing reads any more."""
    wanted = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if wanted & set(node.output):
            wanted.update(node.input)
        else:
            graph.node.remove(node)


def normalised(model: onnx.ModelProto, settings: Model) -> tuple[onnx.ModelProto, float, float]:
    """The graph for red-green-blue pixels, and the mean and spread that are left to whoever feeds it."""
    graph = model.graph
    image, constants = graph.input[0].name, {value.name: value for value in graph.initializer}
    mean, std = np.array(triple(settings.mean)), np.array(triple(settings.std))
    swapped = settings.order == "bgr"
    alike = len(set(mean)) == len(set(std)) == 1 and float(mean[0]).is_integer()
    readers = [node for node in graph.node if image in node.input]
    if alike and swapped and all(each.op_type == "Conv" and each.input[1] in constants for each in readers):
        for each in readers:
            weight = numpy_helper.to_array(constants[each.input[1]])
            if weight.shape[1] == 3:
                constants[each.input[1]].CopyFrom(numpy_helper.from_array(weight[:, ::-1].copy(), each.input[1]))
        swapped = swapped and not all(constants[each.input[1]].dims[1] == 3 for each in readers)
    if alike and not swapped:
        return model, float(mean[0]), float(std[0])
    weight = np.eye(3)[::-1] if swapped else np.eye(3)
    result = f"{image}/normalised"
    for node in readers:
        for place, name in enumerate(node.input):
            node.input[place] = result if name == image else name
    values = {"weight": (weight / std[:, None])[..., None, None], "bias": -mean / std}
    for name, each in values.items():
        graph.initializer.append(numpy_helper.from_array(each.astype(np.float32), f"{result}/{name}"))
    inputs = [image, f"{result}/weight", f"{result}/bias"]
    graph.node.insert(0, helper.make_node("Conv", inputs, [result], name=f"{result}/conv"))
    return model, 0.0, 1.0


def _named(model: onnx.ModelProto, output: str, where: str) -> onnx.ModelProto:
    graph = model.graph
    dims = [dim.dim_value for dim in graph.output[0].type.tensor_type.shape.dim] if len(graph.output) == 1 else []
    if len([each for each in dims if each > 1]) > 1 or int(np.prod(dims or [0])) < 2:
        hint = "end the network with one row of numbers: class scores or an embedding"
        raise ConfigProblem(f"{where}: its output has the shape {dims}, no row of numbers", hint=hint)
    old = graph.output[0].name
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = output if name == old else f"{name}/before" if name == output else name
    graph.output[0].name = output
    return model
