"""A lowered float network -> int8 ONNX, each tensor at the scale that ranges.py says.

The techniques for our own networks go on from there where they are asked for: biases corrected, weights trained by the
float network or rounded as learnt (techniques/), on a view of the graph that their simulation knows. Scales stay as
they were chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import onnx
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Input

from ..graph.torch_module import Network
from . import adaround, bias_correction, qat, silu_equalization
from .integer_simulation import Simulation
from .qat import UNWATCHED, Course, Lesson
from .qdq_writer import quantised
from .quantize import FEW, MOST, Quantise, fed
from .scales.tie_free_scales import Scales
from .step_log import Step, Steps


class Made(NamedTuple):
    """What came of it."""

    int8: onnx.ModelProto
    exact: onnx.ModelProto
    """The float graph that it was made of, computing the same as the one that was given."""
    steps: tuple[Step, ...] = ()


def int8(model: onnx.ModelProto, images: Iterable[NDArray[Any]], spec: Input) -> onnx.ModelProto:
    """An int8 model with integer inputs and outputs: image 1 x H x W x 3, u8.

    Args:
        model: from `lowering.lower`: one input, 1 x 3 x H x W, normalised
        images: 1 x H x W x 3, u8, that ranges are taken from
        spec: how a pixel becomes a real value
    """
    return careful(model, list(images), spec, Quantise()).int8


def careful(
    model: onnx.ModelProto,
    images: Sequence[NDArray[Any]],
    spec: Input,
    how: Quantise,
    lesson: Lesson | None = None,
    course: Course = UNWATCHED,
) -> Made:
    """The same with as much care as `how` asks for; its ranges are ours whatever it says.

    Args:
        model: as above
        images: as above
        spec: as above
        how: which techniques
        lesson: what training teaches; None: that all numbers are alike
        course: how it is gone through

    Raises:
        Problem: a technique is asked for, and the graph holds an operator that cannot be trained here.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())  # some scales ask for another graph
    feeds = fed(model, images, spec)
    floors = silu_equalization.levelled(model, feeds)
    overrides = Scales(model, feeds, (1 / spec.std, round(spec.mean)), floors).overrides()
    made = quantised(model, overrides, feeds[0])
    if not (how.bias_correction or how.qat_steps or how.rounding == "learned"):
        return Made(made, model)
    exact, simulated = Network(model), Simulation(model, made)
    shown = qat.entered(images[: qat.fitting(MOST, spec)], spec)
    steps = Steps((), shown[: qat.fitting(FEW, spec)])
    steps.note("ranges", exact, simulated)
    if how.qat_steps:
        lesson = lesson or qat.near(exact.outputs, qat.blocks(model))
        asked = how.qat_steps, how.qat_rate, how.seed, course
        qat.teach(exact, simulated, lesson, list(exact.places), images, spec, *asked)
        steps.note("training", exact, simulated)
    if how.rounding == "learned":
        adaround.learn(exact, simulated, shown, how.rounding_steps, how.seed)
        steps.note("learned rounding", exact, simulated)
    if how.bias_correction:
        bias_correction.correct(exact, simulated, shown)
        steps.note("bias correction", exact, simulated)
    return Made(quantised(simulated.written(model), overrides, feeds[0]), model, tuple(steps.done))
