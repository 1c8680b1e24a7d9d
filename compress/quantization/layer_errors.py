"""What integers cost, layer after layer, the worst first: evidence for the report, from images that calibrate.

    sqnr    signal to quantisation noise, decibels: what leaves the layer in the int8 file, behind its activation
            function, held against the float model, both run by ONNX Runtime. The noise of earlier layers is in it
    moved   how far the model's answer moves if this layer alone is rounded: root mean square of the difference, as a
            share of the answer's own. By the simulation, and so only for networks that it knows

A layer may be rounded coarsely and nobody notice; another may be rounded well and decide everything. In the whole of
EfficientNet-Lite0 the first depthwise convolution moves the scores most (6.6 %) with one of the best ratios (29 dB).
The float model is the one that the integers were made of: a detector that was fitted to int8 features is not the one of
the float file.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.errors import Problem
from vedette.runtime.inference.backends.onnx import EXACT

from ..graph.torch_module import CLIPS, LAYERS
from ..models.feature_extraction import revealing
from .integer_simulation import Simulation
from .qat import entered, fitting
from .quantize import fed

FEW = 4  # images
_QUANTISED = "_QuantizeLinear_Output"  # what ONNX Runtime's quantiser puts behind a name
_BEST = 120.0  # decibels, where nothing is lost


class Layer(msgspec.Struct, frozen=True):
    """One layer."""

    name: str
    sqnr: float
    moved: float | None = None
    """None: not measured."""


class Noise(msgspec.Struct, frozen=True):
    """Of a model."""

    images: int
    moved: float
    """How far the answer moves with all layers rounded, in the int8 file."""
    layers: tuple[Layer, ...]
    """The one that moves the answer most first; where that was not measured, the one with the least SQNR."""


def heard(exact: onnx.ModelProto, int8: onnx.ModelProto, images: Sequence[NDArray[Any]], manifest: Manifest) -> Noise:
    """The noise of each layer.

    Args:
        exact: the float model that `int8` was made of
        int8: with integer inputs and outputs
        images: 1 x H x W x 3, u8; the first FEW are looked at
        manifest: how pixels enter, and the outputs, of which the last is the model's answer
    """
    spec, by = manifest.input, manifest.outputs[-1]
    images = list(images)[: fitting(FEW, spec)]
    integers = _integers(int8)
    tensors = _tensors(exact, integers)
    signal, noise = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
    answers, lost = 0.0, 0.0
    names = [integers[name].name for name in tensors.values()]
    float_session = _opened(exact, tensors.values(), onnx.TensorProto.FLOAT)
    int8_session = _opened(int8, names, onnx.TensorProto.UINT8)
    for image, feed in zip(images, fed(exact, images, spec), strict=True):
        real = dict(zip([*tensors, by.name], float_session.run([*tensors.values(), by.name], feed), strict=True))
        made = dict(zip([*tensors, by.name], int8_session.run([*names, by.name], {spec.name: image}), strict=True))
        for layer, name in tensors.items():
            _, scale, zero = integers[name]
            signal[layer] += float((real[layer].astype(np.float64) ** 2).sum())
            noise[layer] += float(((scale * (made[layer].astype(np.float64) - zero) - real[layer]) ** 2).sum())
        answer = by.scale * (made[by.name].astype(np.float64) - by.zero_point)
        answers += float((real[by.name].astype(np.float64) ** 2).sum())
        lost += float(((answer - real[by.name]) ** 2).sum())
    weights = {node.name or node.output[0]: node.input[1] for node in exact.graph.node if node.op_type in LAYERS}
    decibels = {layer: _decibels(signal[layer], noise[layer]) for layer in tensors}
    try:
        moved = _moved(exact, int8, entered(images, spec), by.name)
    except Problem:  # an operator that cannot be simulated
        moved = {}
    order = sorted(tensors, key=lambda layer: (-moved.get(layer, 0.0), decibels[layer]))
    layers = (Layer(_called(layer, weights[layer]), round(decibels[layer], 2), moved.get(layer)) for layer in order)
    return Noise(len(images), (lost / max(answers, 1e-30)) ** 0.5, tuple(layers))


class _Integers(NamedTuple):
    """Where a tensor of the float model is integers: what it is called there, and what they stand for."""

    name: str
    scale: float
    zero: float


def _integers(int8: onnx.ModelProto) -> dict[str, _Integers]:
    """Of each tensor. Not by the name of its scale, which it may share with others that are only copied from it."""
    constants = {value.name: value for value in int8.graph.initializer}
    found = {}
    for node in int8.graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero = (float(numpy_helper.to_array(constants[name])) for name in node.input[1:3])
            found[node.output[0].removesuffix(_QUANTISED)] = _Integers(node.output[0], scale, zero)
    return found


def _tensors(exact: onnx.ModelProto, known: Container[str]) -> dict[str, str]:
    """For each layer the tensor in which both models have what leaves it: the quantiser takes a Clip behind it out."""
    clipped = {node.input[0]: node.output[0] for node in exact.graph.node if node.op_type in CLIPS}
    made = {node.name or node.output[0]: node.output[0] for node in exact.graph.node if node.op_type in LAYERS}
    found = {layer: name if name in known else clipped.get(name, name) for layer, name in made.items()}
    return {layer: name for layer, name in found.items() if name in known}


def _opened(model: onnx.ModelProto, names: Iterable[str], kind: int) -> onnxruntime.InferenceSession:
    """`model` on one thread, with the tensors `names` as outputs, too."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry(*EXACT)
    data = revealing(model, names, kind).SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def _moved(exact: onnx.ModelProto, int8: onnx.ModelProto, images: torch.Tensor, answer: str) -> dict[str, float]:
    """By layer, how far the answer moves when it alone is rounded; only what comes after it is computed again."""
    simulated = Simulation(exact, int8)
    simulated.only = ()
    plain = {simulated.input: simulated.entered(images)}
    for node in simulated.nodes:
        plain[node.output] = simulated.done(node, plain)
    truth = simulated.real(answer, plain[answer])
    found = {}
    for first, layer in enumerate(simulated.nodes):
        if layer.name in simulated.quantised:
            simulated.only, values = {layer.name}, dict(plain)
            for number, node in enumerate(simulated.nodes[first:], first):
                values[node.output] = simulated.done(node, values)
                simulated.forget(values, number, [answer])
            made = simulated.real(answer, values[answer])
            found[layer.name] = float((made - truth).norm() / truth.norm().clamp(min=1e-12))
    return found


def _decibels(signal: float, noise: float) -> float:
    return (
        _BEST if noise <= signal * 10 ** (-_BEST / 10) else float(10 * np.log10(signal / noise)) if signal else -_BEST
    )


def _called(node: str, weights: str) -> str:
    """Where the layer is, for people: from the name of its weights, if PyTorch gave it, or its own."""
    if not weights.endswith(".weight"):
        return node
    name = weights.removesuffix(".weight").removesuffix(".conv")
    return name.removeprefix("detector.").removeprefix("backbone.")
