"""Quantization of imported models: a lowered float network to int8 ONNX, with the scales of scales/tie_free_scales.py.

The optional techniques apply here too: bias correction, QAT with the float network as the teacher, and AdaRound. They
work on a form of the graph that the integer simulation supports. The scales stay unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import onnx
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import ModelInput

from ..goal.recipe import QuantizationSettings
from ..graph.editing import copy_model
from ..graph.torch_module import OnnxModule
from . import adaround, bias_correction, qat, silu_equalization
from .integer_simulation import IntegerSimulation
from .qat import DEFAULT_RUN, DistillationObjective, TrainingRun
from .qdq_writer import quantize_with_overrides
from .quantize import MAX_CALIBRATION_BATCH, SENSITIVITY_IMAGES, make_feeds
from .scales.tie_free_scales import TieFreeScales
from .step_log import QuantizationStep, StepLog


class QuantizedGraph(NamedTuple):
    """Result of the quantization of an imported model."""

    int8_model: onnx.ModelProto
    float_reference: onnx.ModelProto
    """Float graph from which the int8 model is built; it computes the same outputs as the given model."""
    steps: tuple[QuantizationStep, ...] = ()


def quantize_post_training(model: onnx.ModelProto, images: Iterable[NDArray[Any]], spec: ModelInput) -> onnx.ModelProto:
    """Returns an int8 model with integer inputs and outputs; the input image is 1 x H x W x 3, u8.

    Args:
        model: lowered float model with one input, 1 x 3 x H x W, normalized
        images: calibration images, 1 x H x W x 3, u8
        spec: model input; defines the normalization of a pixel
    """
    return quantize_graph(model, list(images), spec, QuantizationSettings()).int8_model


def quantize_graph(
    model: onnx.ModelProto,
    images: Sequence[NDArray[Any]],
    spec: ModelInput,
    settings: QuantizationSettings,
    objective: DistillationObjective | None = None,
    run: TrainingRun = DEFAULT_RUN,
) -> QuantizedGraph:
    """Quantizes an imported model with the techniques of `settings`; the ranges of `settings` are ignored.

    Args:
        model: lowered float model with one input, 1 x 3 x H x W, normalized
        images: calibration images, 1 x H x W x 3, u8
        spec: model input; defines the normalization of a pixel
        settings: techniques to apply
        objective: objective of QAT; None: mean square error of outputs and residual blocks
        run: checkpoint folder, time limit and progress display of QAT

    Raises:
        Problem: a technique is requested, and training does not support an operator of the graph
    """
    model = copy_model(model)  # equalization and scales may change the graph
    feeds = make_feeds(model, images, spec)
    lower_limits = silu_equalization.equalize_silu_channels(model, feeds)
    overrides = TieFreeScales(model, feeds, (1 / spec.std, round(spec.mean)), lower_limits).overrides()
    int8_model = quantize_with_overrides(model, overrides, feeds[0])
    if not (settings.bias_correction or settings.qat_steps or settings.rounding == "learned"):
        return QuantizedGraph(int8_model, model)
    float_network, simulation = OnnxModule(model), IntegerSimulation(model, int8_model)
    batch = qat.normalize_images(images[: qat.scale_batch_to_pixels(MAX_CALIBRATION_BATCH, spec)], spec)
    log = StepLog((), batch[: qat.scale_batch_to_pixels(SENSITIVITY_IMAGES, spec)])
    log.record("ranges", float_network, simulation)
    if settings.qat_steps:
        objective = objective or qat.mse_objective(float_network.outputs, qat.find_residual_outputs(model))
        schedule = settings.qat_steps, settings.qat_learning_rate, settings.seed, run
        qat.train_quantized_network(float_network, simulation, objective, images, spec, *schedule)
        log.record("training", float_network, simulation)
    if settings.rounding == "learned":
        adaround.learn_rounding(float_network, simulation, batch, settings.rounding_steps, settings.seed)
        log.record("learned rounding", float_network, simulation)
    if settings.bias_correction:
        bias_correction.correct_biases(float_network, simulation, batch)
        log.record("bias correction", float_network, simulation)
    return QuantizedGraph(
        quantize_with_overrides(simulation.copy_with_learned_weights(model), overrides, feeds[0]),
        model,
        tuple(log.steps),
    )
