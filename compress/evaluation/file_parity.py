"""Parity of the two int8 files of a build: a gate, because nothing may be judged by a file that is another model.

Both files run on every test image, and the integers of all outputs are compared. One step is allowed: the two libraries
may round a tie to different sides. More is a fault of a file. Then every intermediate tensor of both files is compared
on the worst image, and the first node in the order of the graph that differs is named: the cause lies in it.

A TFLite file that computes in float (compress/export/onnx2tf_fallback.py) has no integers to compare. Its difference is
measured, and is no verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import ModelOutput
from vedette.runtime.errors import BundleProblem, Problem
from vedette.runtime.inference.backends import Backend
from vedette.runtime.inference.backends.onnx import OnnxBackend
from vedette.runtime.inference.backends.tflite import TfliteBackend

from ..data.split import model_inputs
from ..export.tflite import write_tflite
from ..goal.goal_tables import Goal
from ..graph.qdq import read_qdq_graph
from ..models.feature_extraction import add_outputs
from ..training.float_and_int8_model import FloatAndInt8Model
from .built_models import INT8_ONNX, BuiltModels

MAX_STEPS = 1


class NodeDifference(msgspec.Struct, frozen=True):
    """The first node whose output differs between the two files."""

    name: str
    op_type: str
    steps: int
    """Largest difference of its output, in integer steps."""
    share: float
    """Share of the integers of its output that differ."""

    def __str__(self) -> str:
        steps = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        return (
            f"node {self.name!r} ({self.op_type}) is the first to differ: {self.share:.2%} of its integers, by at most "
            f"{steps}"
        )


class FileParity(msgspec.Struct, frozen=True):
    """How far the two int8 files are apart on the test images."""

    max_steps: int
    """Largest difference of any output on any image, in integer steps."""
    images: int = 0
    failed: int = 0
    """Images with more than MAX_STEPS."""
    first: NodeDifference | None = None
    """The first node that differs, on the worst image; None: not searched, or the files with all tensors as outputs
    agree."""
    is_float: bool = False
    """The TFLite file computes in float: its integers cannot be compared."""

    @property
    def holds(self) -> bool:
        """Whether both files may be judged."""
        return self.is_float or not self.failed

    @property
    def reason(self) -> str:
        """Why the files may not be judged, or what could not be compared."""
        if self.is_float:
            return "the TFLite file computes in float: it has no integers to compare"
        where = "no node of its own differs" if self.first is None else str(self.first)
        return f"int8 ONNX and TFLite differ on {self.failed} of {self.images} images; {where}"


def measure_parity(models: BuiltModels, images: Iterable[Path]) -> FileParity:
    """Compares the two int8 files on image files; if they are too far apart, finds the first node that differs."""
    return compare_files(models, model_inputs(images, models.manifest.input, models.inspector))


def compare_files(models: BuiltModels, tensors: Iterable[NDArray[Any]]) -> FileParity:
    """As `measure_parity`, on input tensors, 1 x H x W x 3, u8."""
    images = failed = max_steps = 0
    worst: NDArray[Any] | None = None
    for tensor in tensors:
        steps = max_output_difference(models.backends, tensor)
        images, failed = images + 1, failed + (steps > MAX_STEPS)
        if steps > max_steps:
            max_steps, worst = steps, tensor
    is_float = any(backend.is_float for backend in models.backends.values())
    parity = FileParity(max_steps, images, failed, is_float=is_float)
    if parity.holds or worst is None:
        return parity
    return msgspec.structs.replace(parity, first=find_first_difference(models, worst))


def find_fault(goal: Goal, trained: FloatAndInt8Model, tensors: Iterable[NDArray[Any]]) -> str:
    """Why the two int8 files of a design may not be used: a library refuses one, or they differ; empty: they may."""
    try:
        parity = compare_files(BuiltModels(goal, trained.float_model, trained.int8_model), tensors)
    except BundleProblem as problem:
        return problem.message
    return "" if parity.holds else parity.reason


def max_output_difference(backends: Mapping[str, Backend], tensor: NDArray[Any]) -> int:
    """The largest difference between any two back ends over all outputs, in integer steps."""
    runs = [backend.run(tensor) for backend in backends.values()]
    return max(int(np.ptp(np.stack([run[name] for run in runs]).astype(int), axis=0).max()) for name in runs[0])


def find_first_difference(models: BuiltModels, tensor: NDArray[Any]) -> NodeDifference | None:
    """The first node, in the order of the graph, whose integers differ between the two files for an input tensor.

    Both files are written again with every integer tensor as an output. A library may then fuse fewer operators and
    compute other integers than in the files of the build. None: nothing differs then.
    """
    model = onnx.ModelProto.FromString(models.files[INT8_ONNX])
    inferred = onnx.shape_inference.infer_shapes(model).graph
    integers = {
        value.name
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    }
    nodes = {
        output.name: node
        for node in read_qdq_graph(model).nodes
        for output in node.outputs
        if output.name in integers and len(output.scale) == 1
    }
    model = add_outputs(model, nodes, onnx.TensorProto.UINT8)
    tensors = {output.name: output for node in nodes.values() for output in node.outputs if output.name in nodes}
    outputs = tuple(
        ModelOutput(name, each.shape, float(each.scale[0]), int(each.zero_point[0])) for name, each in tensors.items()
    )
    manifest = msgspec.structs.replace(models.manifest, outputs=outputs)
    try:
        runs = [
            OnnxBackend(model.SerializeToString(), manifest, threads=1).run(tensor),
            TfliteBackend(write_tflite(model), manifest, threads=1).run(tensor),
        ]
    except Problem:  # the file with all tensors cannot be written
        return None
    for name, node in nodes.items():
        difference = np.abs(np.subtract(*(run[name].astype(int) for run in runs)))
        if difference.any():
            return NodeDifference(node.name, node.op_type, int(difference.max()), float((difference > 0).mean()))
    return None
