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
from . import adaround as rounding
from . import bias_correction as correction
from . import cross_layer_equalization, qat, sensitivity
from . import qdq_writer as integers
from .integer_simulation import IntegerSimulation
from .scales.activation_ranges import Range, measure_ranges
from .scales.residual_scales import share_residual_ranges
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
    unlabelled: Sequence[NDArray[Any]] = (),
    folder: Path | None = None,
) -> onnx.ModelProto:
    """Returns an int8 model with integer inputs and outputs; the input image is 1 x H x W x 3, u8.

    Args:
        settings: quantization settings of the recipe
        model: float model with one input, 1 x 3 x H x W, normalized
        calibration: calibration images, 1 x H x W x 3, u8
        spec: model input; defines the normalization of a pixel
        bounded_outputs: see `convert`
        unlabelled: see `prepare`
        folder: see `prepare`
    """
    images = list(calibration)
    prepared = prepare(settings, model, images, spec, unlabelled=unlabelled, folder=folder)
    return convert(settings, prepared, images, spec, bounded_outputs)


def prepare(
    settings: QuantizationSettings,
    model: onnx.ModelProto,
    calibration: Sequence[NDArray[Any]],
    spec: ModelInput,
    until: Sequence[str] = (),
    unlabelled: Sequence[NDArray[Any]] = (),
    folder: Path | None = None,
) -> PreparedModel:
    """Returns `model` with weights that lose less in quantization.

    Args:
        settings: quantization settings of the recipe
        model: float model with one input, 1 x 3 x H x W, normalized
        calibration: calibration images, 1 x H x W x 3, u8
        spec: model input; defines the normalization of a pixel
        until: tensors after which the weights stay unchanged, because that part is fitted again; empty: the whole model
            may change
        unlabelled: additional training images for QAT
        folder: checkpoint folder from which QAT resumes; None: no checkpoint
    """
    if not (settings.equalize or settings.bias_correction or settings.qat_steps or settings.rounding == "learned"):
        return PreparedModel(model, {}, model)
    whole = extract_subgraph(model, until)
    images = qat.normalize_images(calibration[: qat.scale_batch_to_pixels(MAX_CALIBRATION_BATCH, spec)], spec)
    steps = StepLog(until, images[: qat.scale_batch_to_pixels(SENSITIVITY_IMAGES, spec)])
    feeds = make_feeds(whole, calibration, spec)

    def twins() -> tuple[OnnxModule, IntegerSimulation, dict[str, Range]]:
        ranges = _choose_ranges(settings, whole, feeds, spec, {}, {}, until)
        return (
            OnnxModule(whole),
            IntegerSimulation(whole, integers.quantize_with_ranges(whole, ranges, feeds[0])),
            ranges,
        )

    exact, simulated, ranges = twins()
    steps.record(f"ranges, {settings.ranges}", exact, simulated)
    if settings.equalize:
        whole = cross_layer_equalization.equalize_layers(whole, images, until)
        exact, simulated, ranges = twins()
        steps.record("equalise", exact, simulated)
    if settings.bias_correction:
        correction.correct_biases(exact, simulated, images)
        steps.record("bias correction", exact, simulated)
    if settings.qat_steps:
        lesson = qat.mse_objective(list(until) or exact.outputs, qat.find_residual_outputs(whole))
        shown = [*calibration, *unlabelled]
        how = settings.qat_steps, settings.qat_learning_rate, settings.seed, qat.TrainingRun(folder)
        qat.train_quantized_network(exact, simulated, lesson, list(exact.parameter_indices), shown, spec, *how)
        steps.record("training", exact, simulated)
    if settings.rounding == "learned":
        rounding.learn_rounding(exact, simulated, images, settings.rounding_steps, settings.seed)
        if settings.bias_correction:
            correction.correct_biases(exact, simulated, images)
        steps.record("learned rounding", exact, simulated)
    return PreparedModel(
        simulated.copy_with_learned_weights(model),
        ranges,
        exact.copy_with_learned_weights(model),
        tuple(steps.steps),
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
    int8 = integers.quantize_with_ranges(prepared.model, ranges, feeds[0])
    if not settings.float_layers:
        return int8
    exact = OnnxModule(prepared.model)
    found = measure_layer_sensitivities(prepared, int8, calibration, spec)
    spared = sensitivity.select_most_sensitive(found, exact, settings.float_layers)
    made = {each.output for each in spared}
    clips = [node.name for node in exact.nodes if node.op_type in CLIPPING_OPERATORS and node.inputs[0] in made]
    return integers.quantize_with_ranges(prepared.model, ranges, feeds[0], [*(each.name for each in spared), *clips])


def measure_layer_sensitivities(
    prepared: PreparedModel, int8: onnx.ModelProto, calibration: Sequence[NDArray[Any]], spec: ModelInput
) -> list[sensitivity.LayerSensitivity]:
    """Measures the sensitivity of each layer of `int8`, the int8 model that `convert` wrote from `prepared`."""
    images = qat.normalize_images(calibration[: qat.scale_batch_to_pixels(SENSITIVITY_IMAGES, spec)], spec)
    return sensitivity.measure_sensitivity(OnnxModule(prepared.model), IntegerSimulation(prepared.model, int8), images)


def _choose_ranges(
    settings: QuantizationSettings,
    model: onnx.ModelProto,
    feeds: Sequence[dict[str, NDArray[Any]]],
    spec: ModelInput,
    bounded_outputs: Mapping[str, float],
    known: dict[str, Range],
    until: Collection[str] = (),
) -> dict[str, Range]:
    """Returns the range of the input and of each node output."""
    ends = {value.name for value in model.graph.output} - set(until)
    ranges = measure_ranges(model, feeds, settings.ranges, settings.percentile, ends) | known
    ranges |= share_residual_ranges(model, ranges)
    ranges[model.graph.input[0].name] = (0 - spec.mean) / spec.std, (255 - spec.mean) / spec.std
    for output, least in bounded_outputs.items():
        found = compute_bounds(model, output)
        ranges |= found
        low, high = found[output]
        last = [node.input[0] for node in model.graph.node if node.output[0] == output and node.op_type == "ReduceMax"]
        ranges |= dict.fromkeys((output, *last), (max(low, least), high))
    for node in model.graph.node:
        if node.op_type == "Concat":  # all inputs of a Concat need the same scale
            shared = compute_bounds(model, node.output[0])[node.output[0]]
            ranges |= dict.fromkeys((*node.input, *node.output), shared)
    return ranges


def extract_subgraph(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Returns the part of `model` that computes `tensors`, with them as outputs; all of it if `tensors` is empty."""
    if not tensors:
        return model
    wanted, nodes = set(tensors), []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors]
    constants = [value for value in model.graph.initializer if value.name in wanted]
    graph = onnx.helper.make_graph(nodes[::-1], model.graph.name, list(model.graph.input), ends, constants)
    part = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return onnx.shape_inference.infer_shapes(part)


def make_feeds(
    model: onnx.ModelProto, images: Iterable[NDArray[Any]], spec: ModelInput
) -> list[dict[str, NDArray[Any]]]:
    """Returns the input of the float model for each image of 1 x H x W x 3, u8."""
    name = model.graph.input[0].name
    return [{name: ((image.astype(np.float32) - spec.mean) / spec.std).transpose(0, 3, 1, 2)} for image in images]
