"""The three models of one build, ready to be run: the float one, and int8 as ONNX and as TFLite."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import onnx

from vedette.runtime.bundle.manifest import FORMAT, ONNX, TFLITE, Input, Manifest, Output, Source
from vedette.runtime.inference.backends import Backend
from vedette.runtime.inference.backends.onnx import Onnx
from vedette.runtime.inference.backends.tflite import Tflite

from ..export import onnx2tf_fallback, tflite
from ..export.tflite.operands import Refused
from ..goal.goal_file import Goal
from ..graph import qdq
from ..models import efficientnet_lite
from ..quantization.step_log import Step
from .model_runners import Float, Integer, Runner

FLOAT, INT8_ONNX, INT8_TFLITE = "fp32", "int8_onnx", "int8_tflite"


class Fitted(msgspec.Struct, frozen=True):
    """What a task makes of the images."""

    float_model: onnx.ModelProto
    int8_model: onnx.ModelProto
    exact: onnx.ModelProto
    """What the integers are to come near, layer by layer: `float_model`, but for a head that was fitted anew."""
    steps: tuple[Step, ...] = ()
    """What was done that it might be fit for integers."""
    about: dict[str, Any] = {}
    """Of a detector: `boxes` and `labels` of the manifest, and `resize` of its input."""


class Candidate:
    """Each by its name in the figures: `fp32`, `int8_onnx`, `int8_tflite`.

    Where a network of the user's own has no integer TFLite file, the last is a float one, and the manifest says so.

    Raises:
        Refused: there is no such file either.
    """

    def __init__(
        self,
        goal: Goal,
        float_model: onnx.ModelProto,
        int8_model: onnx.ModelProto,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.manifest = describe(goal, int8_model, about)
        self.files = {
            FLOAT: float_model.SerializeToString(deterministic=True),
            INT8_ONNX: int8_model.SerializeToString(deterministic=True),
        }
        try:
            self.files[INT8_TFLITE] = tflite.write(int8_model)
        except Refused as refused:
            if not goal.model.own:
                raise
            self.files[INT8_TFLITE] = onnx2tf_fallback.write(float_model, refused)
            tools = self.manifest.tools | {onnx2tf_fallback.PROGRAM: onnx2tf_fallback.version(refused)}
            self.manifest = msgspec.structs.replace(self.manifest, floats={TFLITE: refused.message}, tools=tools)
        self.backends: dict[str, Backend] = {
            INT8_ONNX: Onnx(self.files[INT8_ONNX], self.manifest, threads=1),
            INT8_TFLITE: Tflite(self.files[INT8_TFLITE], self.manifest, threads=1),
        }
        self.runners: dict[str, Runner] = {
            FLOAT: Float(self.files[FLOAT], self.manifest),
            **{name: Integer(backend, self.manifest) for name, backend in self.backends.items()},
        }


def describe(goal: Goal, model: onnx.ModelProto, about: Mapping[str, Any] | None = None) -> Manifest:
    """The manifest as far as it is known before anything is measured.

    Args:
        goal: what is asked
        model: the int8 one
        about: as in `Fitted`
    """
    manifest, known = _plain(goal, model), dict(about or {})
    if resize := known.pop("resize", None):
        known["input"] = msgspec.structs.replace(manifest.input, resize=resize)
    return msgspec.structs.replace(manifest, **known)


def _plain(goal: Goal, model: onnx.ModelProto) -> Manifest:
    graph = qdq.read(model)
    outputs = tuple(
        Output(tensor.name, tensor.shape, float(tensor.scale[0]), int(tensor.zero_point[0])) for tensor in graph.outputs
    )
    tools = ("vedette", "torch", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "opencv-python-headless")
    return Manifest(
        format=FORMAT,
        name=goal.name,
        release=goal.release,
        task=goal.task,
        labels=(),
        input=_input(graph.inputs[0]) if goal.model.own else efficientnet_lite.input_of(graph.inputs[0].shape[1]),
        outputs=outputs,
        models={ONNX: "model.onnx", TFLITE: "model.tflite"},
        threshold=0.0,
        goal={key: value for key, value in msgspec.structs.asdict(goal.goal).items() if value is not None},
        measured={},
        goal_met=False,
        missed=(),
        unproven=(),
        device=goal.device.profile,
        weights=(_source(goal) if goal.model.own else efficientnet_lite.WEIGHTS,),
        data=(Source(goal.data.name or goal.name, goal.data.licence),),
        tools={name: version(name) for name in tools},
        signer="",
        files={},
    )


def _input(image: qdq.Tensor) -> Input:
    """In every model here a pixel is its own integer: scale and zero point are those of the pixels."""
    _, height, width, _ = image.shape
    scale, mean = float(image.scale[0]), int(image.zero_point[0])
    return Input(image.name, width, height, float(mean), 1 / scale, scale, mean)


def _source(goal: Goal) -> Source:
    name = goal.model.onnx or goal.model.torch or goal.model.tflite or ""
    return Source(Path(name).name, goal.model.licence, "the user's own network")
