"""Float ONNX -> int8 ONNX, with as much care as is asked for.

    ready      the float weights are made fit for integers: equalised, trained, rounded, their biases corrected
    ranges     of each activation over the calibration images: ranges.py
    integers   both become a graph of integers: integers.py

Plain (the default), the weights stay as they are and the ranges are the smallest and largest values: post-training
quantisation. What may come before it, docs/techniques.md explains and measures; in this order:

    equalise         channels of one tensor get ranges alike: equalisation.py
    bias_correction  what integers lose on average is given back: correction.py
    qat_steps        the float network teaches its quantised self: teaching.py
    rounding         up or down is learnt for each weight, and biases corrected once more: rounding.py

The ranges have five exceptions:

    input      its scale is 1 / std and its zero point the mean, so that a pixel is its own integer
    constants  of Add and Mul are u8 like the activation that they meet, or no integer kernel would take the pair
    scores     the range that no image can leave, by interval arithmetic: good images alone cannot tell how high the
               score of a defect may be, and a range taken from them would clamp it
    Concat     one range for all that it joins, by interval arithmetic too, so that it only copies
    sums       one range for what is added and what comes of it, so that adding is exact: sums.py
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Input

from ..graph.interval_arithmetic import bounds
from ..graph.torch_module import CLIPS, Network
from . import (
    adaround as rounding,
)
from . import (
    bias_correction as correction,
)
from . import (
    cross_layer_equalization,
    qat,
    sensitivity,
)
from . import (
    qdq_writer as integers,
)
from .integer_simulation import Simulation
from .scales.activation_ranges import Range, Ranges, observed
from .scales.residual_scales import shared_ranges
from .step_log import Step, Steps

MOST = 64  # images that go through at once: 64 of 224 x 224 take 1 GB, and larger ones are fewer
FEW = 16  # images that tell how sensitive a layer is


class Ready(msgspec.Struct, frozen=True):
    """A float model, fit to be quantised."""

    model: onnx.ModelProto
    ranges: dict[str, Range]
    """Those that it was made fit for; empty where nothing depends on them."""
    exact: onnx.ModelProto
    """What the integers are to come near: the same layers, computing what the float model did."""
    steps: tuple[Step, ...] = ()
    """What it took."""


class Quantise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the technique."""

    ranges: Ranges = "minmax"
    """How the range of an activation is chosen."""
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] = 99.99
    """Per cent of the values that stay, for ranges = "percentile"."""
    equalise: bool = False
    """Channels of one tensor get ranges alike, where nothing else changes by it."""
    bias_correction: bool = False
    """What integers lose on average, per output channel, goes into the biases."""
    rounding: Literal["nearest", "learned"] = "nearest"
    """Of the weights."""
    rounding_steps: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 200
    """Per layer, where rounding is learnt."""
    qat_steps: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    """Of training, at most."""
    qat_rate: Annotated[float, msgspec.Meta(gt=0, le=0.01)] = 1e-5
    """Step of Adam at the beginning; it ends at none."""
    float_layers: Annotated[int, msgspec.Meta(ge=0)] = 0
    """So many layers, those that cost the outputs most, stay float. ONNX only: the TFLite writer takes integers."""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Of what is drawn by chance."""

    def __call__(
        self,
        model: onnx.ModelProto,
        calibration: Iterable[NDArray[Any]],
        spec: Input,
        bounded_outputs: Mapping[str, float] | None = None,
        unlabelled: Sequence[NDArray[Any]] = (),
        folder: Path | None = None,
    ) -> onnx.ModelProto:
        """An int8 model with integer inputs and outputs: image 1 x H x W x 3, u8.

        Args:
            model: one input, 1 x 3 x H x W, normalised
            calibration: images of 1 x H x W x 3, u8
            spec: how a pixel becomes a real value
            bounded_outputs: as for `integers`
            unlabelled: as for `ready`
            folder: as for `ready`
        """
        images = list(calibration)
        ready = self.ready(model, images, spec, unlabelled=unlabelled, folder=folder)
        return self.integers(ready, images, spec, bounded_outputs)

    def ready(
        self,
        model: onnx.ModelProto,
        calibration: Sequence[NDArray[Any]],
        spec: Input,
        until: Sequence[str] = (),
        unlabelled: Sequence[NDArray[Any]] = (),
        folder: Path | None = None,
    ) -> Ready:
        """`model` with weights that suffer less from being quantised.

        Args:
            model: as above
            calibration: as above
            spec: as above
            until: tensors behind which nothing is changed, for it will be fitted again; empty: all is
            unlabelled: further images to train with
            folder: where training leaves its state, and goes on from it
        """
        if not (self.equalise or self.bias_correction or self.qat_steps or self.rounding == "learned"):
            return Ready(model, {}, model)
        whole = up_to(model, until)
        images = qat.entered(calibration[: qat.fitting(MOST, spec)], spec)
        steps = Steps(until, images[: qat.fitting(FEW, spec)])
        feeds = fed(whole, calibration, spec)

        def twins() -> tuple[Network, Simulation, dict[str, Range]]:
            ranges = self._ranges(whole, feeds, spec, {}, {}, until)
            return Network(whole), Simulation(whole, integers.written(whole, ranges, feeds[0])), ranges

        exact, simulated, ranges = twins()
        steps.note(f"ranges, {self.ranges}", exact, simulated)
        if self.equalise:
            whole = cross_layer_equalization.equalised(whole, images, until)
            exact, simulated, ranges = twins()
            steps.note("equalise", exact, simulated)
        if self.bias_correction:
            correction.correct(exact, simulated, images)
            steps.note("bias correction", exact, simulated)
        if self.qat_steps:
            lesson = qat.near(list(until) or exact.outputs, qat.blocks(whole))
            shown = [*calibration, *unlabelled]
            how = self.qat_steps, self.qat_rate, self.seed, qat.Course(folder)
            qat.teach(exact, simulated, lesson, list(exact.places), shown, spec, *how)
            steps.note("training", exact, simulated)
        if self.rounding == "learned":
            rounding.learn(exact, simulated, images, self.rounding_steps, self.seed)
            if self.bias_correction:
                correction.correct(exact, simulated, images)
            steps.note("learned rounding", exact, simulated)
        return Ready(simulated.written(model), ranges, exact.written(model), tuple(steps.done))

    def integers(
        self,
        ready: Ready,
        calibration: Sequence[NDArray[Any]],
        spec: Input,
        bounded_outputs: Mapping[str, float] | None = None,
    ) -> onnx.ModelProto:
        """The int8 model; as `__call__`, but for weights that stay as they are.

        Args:
            ready: the float model, and ranges that shall hold
            calibration: as above
            spec: as above
            bounded_outputs: those whose ranges come from interval arithmetic, and what each cannot fall below
        """
        feeds = fed(ready.model, calibration, spec)
        ranges = self._ranges(ready.model, feeds, spec, bounded_outputs or {}, ready.ranges)
        int8 = integers.written(ready.model, ranges, feeds[0])
        if not self.float_layers:
            return int8
        exact = Network(ready.model)
        found = self.sensitivities(ready, int8, calibration, spec)
        spared = sensitivity.worst(found, exact, self.float_layers)
        made = {each.output for each in spared}
        clips = [node.name for node in exact.nodes if node.kind in CLIPS and node.inputs[0] in made]
        return integers.written(ready.model, ranges, feeds[0], [*(each.name for each in spared), *clips])

    def sensitivities(
        self, ready: Ready, int8: onnx.ModelProto, calibration: Sequence[NDArray[Any]], spec: Input
    ) -> list[sensitivity.Sensitivity]:
        """What each layer of `int8`, which `integers` made of `ready`, loses and costs."""
        images = qat.entered(calibration[: qat.fitting(FEW, spec)], spec)
        return sensitivity.sensitivities(Network(ready.model), Simulation(ready.model, int8), images)

    def _ranges(
        self,
        model: onnx.ModelProto,
        feeds: Sequence[dict[str, NDArray[Any]]],
        spec: Input,
        bounded_outputs: Mapping[str, float],
        known: dict[str, Range],
        until: Collection[str] = (),
    ) -> dict[str, Range]:
        """Of the input and of each tensor that a node makes."""
        ends = {value.name for value in model.graph.output} - set(until)
        ranges = observed(model, feeds, self.ranges, self.percentile, ends) | known
        ranges |= shared_ranges(model, ranges)
        ranges[model.graph.input[0].name] = (0 - spec.mean) / spec.std, (255 - spec.mean) / spec.std
        for output, least in bounded_outputs.items():
            found = bounds(model, output)
            ranges |= found
            low, high = found[output]
            last = [
                node.input[0] for node in model.graph.node if node.output[0] == output and node.op_type == "ReduceMax"
            ]
            ranges |= dict.fromkeys((output, *last), (max(low, least), high))
        for node in model.graph.node:
            if node.op_type == "Concat":  # only integers of one scale can stand beside each other
                shared = bounds(model, node.output[0])[node.output[0]]
                ranges |= dict.fromkeys((*node.input, *node.output), shared)
        return ranges


def up_to(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """The part of `model` that `tensors` are made by, with them as its outputs; all of it where there are none."""
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


def fed(model: onnx.ModelProto, images: Iterable[NDArray[Any]], spec: Input) -> list[dict[str, NDArray[Any]]]:
    """The float model's input for each image of 1 x H x W x 3, u8."""
    name = model.graph.input[0].name
    return [{name: ((image.astype(np.float32) - spec.mean) / spec.std).transpose(0, 3, 1, 2)} for image in images]
