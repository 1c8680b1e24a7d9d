"""Quantization error of each layer, largest first: diagnostics for the report, measured on calibration images.

    sqnr    signal to quantization noise ratio in dB, of the layer output after its activation function: the int8 model
            against the float model, both run by ONNX Runtime. It includes the noise of earlier layers
    moved   change of the model output if only this layer is rounded: root mean square of the difference, relative to
            the root mean square of the output. It comes from the integer simulation, and is measured only for
            networks that the simulation supports

The two measures differ. A coarsely rounded layer can have no effect on the output, and a precisely rounded layer can
have a large one. In EfficientNet-Lite0 the first depthwise convolution changes the scores most (6.6 %) and has one of
the best SQNR values (29 dB). The reference is the float model from which the int8 model is built. If a detector is
fitted to int8 features, this reference differs from the model in the float file.
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

from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.errors import Problem
from vedette.runtime.inference.backends.onnx import EXACT_KERNELS_OPTION

from ..graph.editing import read_initializers
from ..graph.torch_module import CLIPPING_OPERATORS, WEIGHTED_OPERATORS
from ..models.feature_extraction import add_outputs
from .integer_simulation import IntegerSimulation
from .qat import normalize_images, scale_batch_to_pixels
from .quantize import make_feeds

MAX_IMAGES = 4  # for images of 224 x 224
_QUANTIZED_SUFFIX = "_QuantizeLinear_Output"  # suffix that ONNX Runtime's quantizer appends to a name
_MAX_DECIBELS = 120.0  # dB; upper limit, used where the noise is zero


class LayerError(msgspec.Struct, frozen=True):
    """Quantization error of one layer."""

    name: str
    sqnr: float
    output_change: float | None = msgspec.field(default=None, name="moved")
    """Relative change of the model output if only this layer is rounded; None: not measured."""


class LayerErrors(msgspec.Struct, frozen=True):
    """Quantization errors of all layers of a model."""

    images: int
    output_change: float = msgspec.field(name="moved")
    """Relative change of the output of the int8 model, with all layers rounded."""
    layers: tuple[LayerError, ...]
    """Sorted by `output_change`, largest first; where it is not measured, by SQNR, lowest first."""


def measure_layer_errors(
    float_model: onnx.ModelProto, int8_model: onnx.ModelProto, images: Sequence[NDArray[Any]], manifest: Manifest
) -> LayerErrors:
    """Measures the quantization error of each layer.

    Args:
        float_model: float model from which `int8_model` is built
        int8_model: int8 model with integer inputs and outputs
        images: 1 x H x W x 3, u8; the first MAX_IMAGES are used, fewer if they are larger than 224 x 224
        manifest: describes the input and the outputs; the last output is compared
    """
    spec, output = manifest.input, manifest.outputs[-1]
    images = list(images)[: scale_batch_to_pixels(MAX_IMAGES, spec)]
    integers = _find_integer_tensors(int8_model)
    tensors = _find_layer_outputs(float_model, integers)
    signal, noise = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
    output_signal, output_noise = 0.0, 0.0
    names = [integers[name].name for name in tensors.values()]
    float_session = _open_session(float_model, tensors.values(), onnx.TensorProto.FLOAT)
    int8_session = _open_session(int8_model, names, onnx.TensorProto.UINT8)
    for image, feed in zip(images, make_feeds(float_model, images, spec), strict=True):
        real = dict(
            zip([*tensors, output.name], float_session.run([*tensors.values(), output.name], feed), strict=True)
        )
        quantized = dict(
            zip([*tensors, output.name], int8_session.run([*names, output.name], {spec.name: image}), strict=True)
        )
        for layer, name in tensors.items():
            _, scale, zero_point = integers[name]
            signal[layer] += float((real[layer].astype(np.float64) ** 2).sum())
            noise[layer] += float(
                ((scale * (quantized[layer].astype(np.float64) - zero_point) - real[layer]) ** 2).sum()
            )
        dequantized = output.scale * (quantized[output.name].astype(np.float64) - output.zero_point)
        output_signal += float((real[output.name].astype(np.float64) ** 2).sum())
        output_noise += float(((dequantized - real[output.name]) ** 2).sum())
    weights = {
        node.name or node.output[0]: node.input[1]
        for node in float_model.graph.node
        if node.op_type in WEIGHTED_OPERATORS
    }
    decibels = {layer: _decibels(signal[layer], noise[layer]) for layer in tensors}
    try:
        changes = _measure_output_sensitivity(float_model, int8_model, normalize_images(images, spec), output.name)
    except Problem:  # the simulation lacks an operator of the model
        changes = {}
    order = sorted(tensors, key=lambda layer: (-changes.get(layer, 0.0), decibels[layer]))
    layers = (
        LayerError(_layer_label(layer, weights[layer]), round(decibels[layer], 2), changes.get(layer))
        for layer in order
    )
    return LayerErrors(len(images), (output_noise / max(output_signal, 1e-30)) ** 0.5, tuple(layers))


class _IntegerTensor(NamedTuple):
    """An integer tensor of the int8 model: its name, scale and zero point."""

    name: str
    scale: float
    zero_point: float


def _find_integer_tensors(int8_model: onnx.ModelProto) -> dict[str, _IntegerTensor]:
    """Maps float tensor names to integer tensors; scale names are not used, because copied tensors share a scale."""
    constants = read_initializers(int8_model.graph)
    integers = {}
    for node in int8_model.graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero_point = (float(constants[name]) for name in node.input[1:3])
            integers[node.output[0].removesuffix(_QUANTIZED_SUFFIX)] = _IntegerTensor(node.output[0], scale, zero_point)
    return integers


def _find_layer_outputs(float_model: onnx.ModelProto, known: Container[str]) -> dict[str, str]:
    """Maps each layer to the output tensor that both models have; the quantizer removes a Clip after a layer."""
    clipped = {node.input[0]: node.output[0] for node in float_model.graph.node if node.op_type in CLIPPING_OPERATORS}
    outputs = {
        node.name or node.output[0]: node.output[0]
        for node in float_model.graph.node
        if node.op_type in WEIGHTED_OPERATORS
    }
    comparable = {layer: name if name in known else clipped.get(name, name) for layer, name in outputs.items()}
    return {layer: name for layer, name in comparable.items() if name in known}


def _open_session(model: onnx.ModelProto, names: Iterable[str], element_type: int) -> onnxruntime.InferenceSession:
    """Opens a session of `model` on one thread, with the tensors `names` as additional outputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry(*EXACT_KERNELS_OPTION)
    data = add_outputs(model, names, element_type).SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def _measure_output_sensitivity(
    float_model: onnx.ModelProto, int8_model: onnx.ModelProto, images: torch.Tensor, output: str
) -> dict[str, float]:
    """Returns the output change per layer if only that layer is rounded; recomputes only the nodes after it."""
    simulation = IntegerSimulation(float_model, int8_model)
    simulation.rounded_nodes = ()
    float_values = {simulation.input: simulation.prepare_input(images)}
    for node in simulation.nodes:
        float_values[node.output] = simulation.run_node(node, float_values)
    target = simulation.dequantize(output, float_values[output])
    changes = {}
    for first, layer in enumerate(simulation.nodes):
        if layer.name in simulation.quantized_layers:
            simulation.rounded_nodes, values = {layer.name}, dict(float_values)
            for index, node in enumerate(simulation.nodes[first:], first):
                values[node.output] = simulation.run_node(node, values)
                simulation.release_unused_tensors(values, index, [output])
            quantized = simulation.dequantize(output, values[output])
            changes[layer.name] = float((quantized - target).norm() / target.norm().clamp(min=1e-12))
    return changes


def _decibels(signal: float, noise: float) -> float:
    return (
        _MAX_DECIBELS
        if noise <= signal * 10 ** (-_MAX_DECIBELS / 10)
        else float(10 * np.log10(signal / noise))
        if signal
        else -_MAX_DECIBELS
    )


def _layer_label(node: str, weights: str) -> str:
    """Returns a readable layer name, from its weight name if PyTorch assigned one, otherwise the node name."""
    if not weights.endswith(".weight"):
        return node
    name = weights.removesuffix(".weight").removesuffix(".conv")
    return name.removeprefix("detector.").removeprefix("backbone.")
