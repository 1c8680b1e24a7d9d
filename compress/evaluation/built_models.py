"""The models of one build with their back ends: the float model, and int8 as ONNX and as TFLite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import onnx

from vedette.runtime.bundle.manifest import (
    FORMAT_VERSION,
    ONNX,
    TFLITE,
    Manifest,
    ModelInput,
    ModelOutput,
    SourceAndLicence,
)
from vedette.runtime.distribution import installed_version
from vedette.runtime.inference.backends import Backend
from vedette.runtime.inference.backends.onnx import OnnxBackend
from vedette.runtime.inference.backends.tflite import TfliteBackend
from vedette.runtime.inference.float_model import DIGEST_KEY
from vedette.runtime.inference.inspector import Inspector

from ..export import onnx2tf_fallback
from ..export.tflite import write_tflite
from ..export.tflite.operands import UnsupportedOperator
from ..goal.goal_tables import Goal
from ..graph import qdq
from ..models import efficientnet_lite
from .model_runners import FloatRunner, Int8Runner, ModelRunner

FLOAT, INT8_ONNX, INT8_TFLITE = "fp32", "int8_onnx", "int8_tflite"
MODEL_TITLES = {FLOAT: "float ONNX", INT8_ONNX: "int8 ONNX", INT8_TFLITE: "int8 TFLite"}


class BuiltModels:
    """The model files, runners and back ends by name (`fp32`, `int8_onnx`, `int8_tflite`), and the draft manifest.

    If an imported network cannot be written as an int8 TFLite file, that file is a float model, and the manifest states
    it.

    Args:
        goal: the goal file
        float_model: the float ONNX graph
        int8_model: the int8 ONNX graph (QDQ)
        manifest_fields: as in `FloatAndInt8Model`
        inspector: as in `FloatAndInt8Model`

    Raises:
        UnsupportedOperator: a float TFLite file cannot be written either.
    """

    def __init__(
        self,
        goal: Goal,
        float_model: onnx.ModelProto,
        int8_model: onnx.ModelProto,
        manifest_fields: Mapping[str, Any] | None = None,
        inspector: Inspector | None = None,
    ) -> None:
        self.manifest, self.inspector = draft_manifest(goal, int8_model, manifest_fields), inspector
        if inspector is not None:
            self.manifest = msgspec.structs.replace(self.manifest, inspect=inspector.settings)
        self.files = {
            FLOAT: float_model.SerializeToString(deterministic=True),
            INT8_ONNX: int8_model.SerializeToString(deterministic=True),
        }
        try:
            self.files[INT8_TFLITE] = write_tflite(int8_model)
        except UnsupportedOperator as error:
            if not goal.model.is_imported:
                raise
            self.files[INT8_TFLITE] = onnx2tf_fallback.write_float_tflite(float_model, error)
            tools = self.manifest.tools | {onnx2tf_fallback.PROGRAM: onnx2tf_fallback.read_onnx2tf_version(error)}
            self.manifest = msgspec.structs.replace(self.manifest, floats={TFLITE: error.message}, tools=tools)
        self.backends: dict[str, Backend] = {
            INT8_ONNX: OnnxBackend(self.files[INT8_ONNX], self.manifest, threads=1),
            INT8_TFLITE: TfliteBackend(self.files[INT8_TFLITE], self.manifest, threads=1),
        }
        self.runners: dict[str, ModelRunner] = {
            FLOAT: FloatRunner(self.files[FLOAT], self.manifest, inspector),
            **{name: Int8Runner(backend, self.manifest, inspector) for name, backend in self.backends.items()},
        }

    @property
    def digest(self) -> str:
        """Digest of all model files."""
        return hashlib.sha256(b"".join(self.files[name] for name in sorted(self.files))).hexdigest()

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each model file."""
        return {model: len(content) for model, content in self.files.items()}

    @property
    def float_digest(self) -> dict[str, str]:
        """The digest of the float model, as `measured` holds it: by it the file is known beside the bundle."""
        return {DIGEST_KEY: hashlib.sha256(self.files[FLOAT]).hexdigest()}


def draft_manifest(goal: Goal, model: onnx.ModelProto, manifest_fields: Mapping[str, Any] | None = None) -> Manifest:
    """The manifest without measurements.

    Args:
        goal: the goal file
        model: the int8 ONNX graph (QDQ)
        manifest_fields: as in `FloatAndInt8Model`
    """
    manifest, fields = _base_manifest(goal, model), dict(manifest_fields or {})
    if resize := fields.pop("resize", None):
        fields["input"] = msgspec.structs.replace(manifest.input, resize=resize)
    return msgspec.structs.replace(manifest, **fields)


def _base_manifest(goal: Goal, model: onnx.ModelProto) -> Manifest:
    graph = qdq.read_qdq_graph(model)
    outputs = tuple(
        ModelOutput(tensor.name, tensor.shape, float(tensor.scale[0]), int(tensor.zero_point[0]))
        for tensor in graph.outputs
    )
    tools = ("torch", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "opencv-python-headless")
    return Manifest(
        format=FORMAT_VERSION,
        name=goal.name,
        release=goal.release,
        task=goal.task,
        labels=(),
        input=_input_from_tensor(graph.inputs[0])
        if goal.model.is_imported
        else efficientnet_lite.backbone_input_spec((graph.inputs[0].shape[1], graph.inputs[0].shape[2])),
        outputs=outputs,
        models={ONNX: "model.onnx", TFLITE: "model.tflite"},
        threshold=0.0,
        goal={key: value for key, value in msgspec.structs.asdict(goal.goal).items() if isinstance(value, int | float)},
        measured={},
        goal_met=False,
        missed=(),
        unproven=(),
        device=goal.device.profile,
        weights=(_imported_weights(goal) if goal.model.is_imported else efficientnet_lite.WEIGHTS_PROVENANCE,),
        data=(SourceAndLicence(goal.data.name or goal.name, goal.data.licence),),
        tools={"vedette": installed_version()} | {name: version(name) for name in tools},
        signer="",
        files={},
    )


def _input_from_tensor(image: qdq.QuantizedTensor) -> ModelInput:
    """The input, in which each integer is a pixel value: mean and standard deviation follow from its quantization."""
    _, height, width, _ = image.shape
    scale, mean = float(image.scale[0]), int(image.zero_point[0])
    return ModelInput(image.name, width, height, float(mean), 1 / scale, scale, mean)


def _imported_weights(goal: Goal) -> SourceAndLicence:
    name = goal.model.onnx or goal.model.torch or goal.model.tflite or ""
    return SourceAndLicence(Path(name).name, goal.model.licence, "the user's own network")
