"""Quantization of a float ONNX model to an int8 ONNX model, with optional accuracy techniques.

    prepare    changes the float weights so that quantization loses less: equalization, QAT, AdaRound, bias correction
    ranges     chooses the range of each activation over the calibration images: scales/activation_ranges.py
    convert    writes the int8 graph from the weights and the ranges: qdq_writer.py

The default is post-training quantization: the weights stay unchanged and the ranges are the smallest and largest
values. docs/techniques.md explains and measures the optional techniques. They run in this order:

    equalize         gives the channels of a tensor similar ranges: cross_layer_equalization.py
    bias_correction  corrects the mean error of each output channel: bias_correction.py
    qat_steps        trains the quantized network with the float network as the teacher: qat.py
    rounding         learns to round each weight up or down, then corrects the biases again: adaround.py

Five kinds of tensors have other ranges:

    input      the scale is 1 / std and the zero point is the mean, so that each pixel value is its own integer
    constants  constants of Add and Mul are u8, like the activation that they meet; otherwise no integer kernel supports
               the pair
    scores     the range comes from interval arithmetic, so that no image exceeds it: good images alone do not show how
               high the score of a defect is, and a range measured on them would clamp it
    Concat     all inputs and the output share one range, also from interval arithmetic, so that Concat only copies
    sums       the operands and the result of a residual addition share one range, so that the addition is exact:
               scales/residual_scales.py
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import ModelInput

from ..goal.recipe import QuantizationSettings
from ..graph.interval_arithmetic import compute_bounds
from ..graph.torch_module import CLIPPING_OPERATORS, OnnxModule
from . import adaround, bias_correction, cross_layer_equalization, qat, sensitivity
from .integer_simulation import IntegerSimulation
from .qdq_writer import quantize_with_ranges
from .scales.activation_ranges import Range, measure_ranges
from .scales.fine_scales import widen_fine_ranges
from .scales.residual_scales import share_residual_ranges
from .scales.shared_scales import find_copied_tensors
from .step_log import QuantizationStep, StepLog

MAX_CALIBRATION_BATCH = 64  # for images of 224 x 224, which take 1 GB; fewer if they are larger
SENSITIVITY_IMAGES = 16  # for the sensitivity of the layers; fewer if larger than 224 x 224


class PreparedModel(msgspec.Struct, frozen=True):
    """A float model that is ready for quantization."""

    model: onnx.ModelProto
    ranges: dict[str, Range]
    """Ranges that the preparation assumed; empty if no technique depends on ranges."""
    float_reference: onnx.ModelProto
    """Float model that the int8 model approximates: the same layers, with the original outputs."""
    steps: tuple[QuantizationStep, ...] = ()
    """Applied steps with their error and duration."""


def quantize(
    settings: QuantizationSettings,
    model: onnx.ModelProto,
    calibration: Iterable[NDArray[Any]],
    spec: ModelInput,
    bounded_outputs: Mapping[str, float] | None = None,
    unlabeled_images: Sequence[NDArray[Any]] = (),
    checkpoint_folder: Path | None = None,
) -> onnx.ModelProto:
    """Returns an int8 model with integer inputs and outputs; the input image is 1 x H x W x 3, u8.

    Args:
        settings: quantization settings of the recipe
        model: float model with one input, 1 x 3 x H x W, normalized
        calibration: calibration images, 1 x H x W x 3, u8
        spec: model input; defines the normalization of a pixel
        bounded_outputs: see `convert`
        unlabeled_images: see `prepare`
        checkpoint_folder: see `prepare`
    """
    images = list(calibration)
    prepared = prepare(settings, model, images, spec, (), unlabeled_images, checkpoint_folder)
    return convert(settings, prepared, images, spec, bounded_outputs)


def prepare(
    settings: QuantizationSettings,
    model: onnx.ModelProto,
    calibration: Sequence[NDArray[Any]],
    spec: ModelInput,
    boundary_tensors: Sequence[str] = (),
    unlabeled_images: Sequence[NDArray[Any]] = (),
    checkpoint_folder: Path | None = None,
) -> PreparedModel:
    """Returns `model` with weights that lose less in quantization.

    Args:
        settings: quantization settings of the recipe
        model: float model with one input, 1 x 3 x H x W, normalized
        calibration: calibration images, 1 x H x W x 3, u8
        spec: model input; defines the normalization of a pixel
        boundary_tensors: tensors after which the weights stay unchanged, because that part is fitted again; empty: the
            whole model may change
        unlabeled_images: additional training images for QAT
        checkpoint_folder: folder from which QAT resumes; None: no checkpoint
    """
    if not (settings.equalize or settings.bias_correction or settings.qat_steps or settings.rounding == "learned"):
        return PreparedModel(model, {}, model)
    subgraph = extract_subgraph(model, boundary_tensors)
    images = qat.normalize_images(calibration[: qat.scale_batch_to_pixels(MAX_CALIBRATION_BATCH, spec)], spec)
    log = StepLog(boundary_tensors, images[: qat.scale_batch_to_pixels(SENSITIVITY_IMAGES, spec)])
    feeds = make_feeds(subgraph, calibration, spec)

    def build_networks() -> tuple[OnnxModule, IntegerSimulation, dict[str, Range]]:
        ranges = _choose_ranges(settings, subgraph, feeds, spec, {}, {}, boundary_tensors)
        return (
            OnnxModule(subgraph),
            IntegerSimulation(subgraph, quantize_with_ranges(subgraph, ranges, feeds[0])),
            ranges,
        )

    float_network, simulation, ranges = build_networks()
    log.record(f"ranges, {settings.ranges}", float_network, simulation)
    if settings.equalize:
        subgraph = cross_layer_equalization.equalize_layers(subgraph, images, boundary_tensors)
        float_network, simulation, ranges = build_networks()
        log.record("equalise", float_network, simulation)
    if settings.bias_correction:
        bias_correction.correct_biases(float_network, simulation, images)
        log.record("bias correction", float_network, simulation)
    if settings.qat_steps:
        last_tensors = list(boundary_tensors) or float_network.outputs
        objective = qat.mse_objective(last_tensors, qat.find_residual_outputs(subgraph))
        training_images = [*calibration, *unlabeled_images]
        schedule = settings.qat_steps, settings.qat_learning_rate, settings.seed, qat.TrainingRun(checkpoint_folder)
        qat.train_quantized_network(float_network, simulation, objective, training_images, spec, *schedule)
        log.record("training", float_network, simulation)
    if settings.rounding == "learned":
        adaround.learn_rounding(float_network, simulation, images, settings.rounding_steps, settings.seed)
        if settings.bias_correction:
            bias_correction.correct_biases(float_network, simulation, images)
        log.record("learned rounding", float_network, simulation)
    return PreparedModel(
        simulation.copy_with_learned_weights(model),
        ranges,
        float_network.copy_with_learned_weights(model),
        tuple(log.steps),
    )


def convert(
    settings: QuantizationSettings,
    prepared: PreparedModel,
    calibration: Sequence[NDArray[Any]],
    spec: ModelInput,
    bounded_outputs: Mapping[str, float] | None = None,
) -> onnx.ModelProto:
    """Returns the int8 model of a prepared model; the weights stay unchanged.

    Args:
        settings: quantization settings of the recipe
        prepared: float model, and ranges that override the measured ones
        calibration: calibration images, 1 x H x W x 3, u8
        spec: model input; defines the normalization of a pixel
        bounded_outputs: outputs whose ranges come from interval arithmetic, with the minimum of each
    """
    feeds = make_feeds(prepared.model, calibration, spec)
    ranges = _choose_ranges(settings, prepared.model, feeds, spec, bounded_outputs or {}, prepared.ranges)
    int8_model = quantize_with_ranges(prepared.model, ranges, feeds[0])
    if not settings.float_layers:
        return int8_model
    float_network = OnnxModule(prepared.model)
    sensitivities = measure_layer_sensitivities(prepared, int8_model, calibration, spec)
    float_layers = sensitivity.select_most_sensitive(sensitivities, float_network, settings.float_layers)
    outputs = {layer.output for layer in float_layers}
    clips = [
        node.name for node in float_network.nodes if node.op_type in CLIPPING_OPERATORS and node.inputs[0] in outputs
    ]
    return quantize_with_ranges(prepared.model, ranges, feeds[0], [*(layer.name for layer in float_layers), *clips])


def measure_layer_sensitivities(
    prepared: PreparedModel, int8_model: onnx.ModelProto, calibration: Sequence[NDArray[Any]], spec: ModelInput
) -> list[sensitivity.LayerSensitivity]:
    """Measures the sensitivity of each layer of `int8_model`, the int8 model that `convert` wrote from `prepared`."""
    images = qat.normalize_images(calibration[: qat.scale_batch_to_pixels(SENSITIVITY_IMAGES, spec)], spec)
    return sensitivity.measure_sensitivity(
        OnnxModule(prepared.model), IntegerSimulation(prepared.model, int8_model), images
    )


def _choose_ranges(
    settings: QuantizationSettings,
    model: onnx.ModelProto,
    feeds: Sequence[dict[str, NDArray[Any]]],
    spec: ModelInput,
    bounded_outputs: Mapping[str, float],
    known_ranges: dict[str, Range],
    boundary_tensors: Collection[str] = (),
) -> dict[str, Range]:
    """Returns the range of the input and of each node output."""
    full_range_tensors = {value.name for value in model.graph.output} - set(boundary_tensors)
    ranges = measure_ranges(model, feeds, settings.ranges, settings.percentile, full_range_tensors) | known_ranges
    image = {model.graph.input[0].name: ((0 - spec.mean) / spec.std, (255 - spec.mean) / spec.std)}
    ranges |= widen_fine_ranges(model, ranges | image)
    ranges |= share_residual_ranges(model, ranges) | image
    for output, lower_bound in bounded_outputs.items():
        bounds = compute_bounds(model, output)
        ranges |= bounds
        low, high = bounds[output]
        maximum_inputs = [
            node.input[0] for node in model.graph.node if node.output[0] == output and node.op_type == "ReduceMax"
        ]
        ranges |= dict.fromkeys((output, *maximum_inputs), (max(low, lower_bound), high))
    for node in model.graph.node:
        if node.op_type == "Concat":  # all inputs of a Concat need the same scale, and so do those that they copy
            shared = compute_bounds(model, node.output[0])[node.output[0]]
            ranges |= dict.fromkeys(find_copied_tensors(model.graph, node), shared)
    return ranges


def extract_subgraph(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Returns the part of `model` that computes `tensors`, with them as outputs; all of it if `tensors` is empty."""
    if not tensors:
        return model
    needed, nodes = set(tensors), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    outputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors]
    constants = [value for value in model.graph.initializer if value.name in needed]
    graph = onnx.helper.make_graph(nodes[::-1], model.graph.name, list(model.graph.input), outputs, constants)
    subgraph = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return onnx.shape_inference.infer_shapes(subgraph)


def make_feeds(
    model: onnx.ModelProto, images: Iterable[NDArray[Any]], spec: ModelInput
) -> list[dict[str, NDArray[Any]]]:
    """Returns the input of the float model for each image of 1 x H x W x 3, u8."""
    name = model.graph.input[0].name
    return [{name: ((image.astype(np.float32) - spec.mean) / spec.std).transpose(0, 3, 1, 2)} for image in images]
