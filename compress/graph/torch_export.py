"""Export of a fitted torch model as a float ONNX graph, the reference for every later accuracy comparison.

The backbone is written directly (`models/onnx_backbone.py`), and PyTorch exports what follows it: an export of all by
PyTorch takes a third of the processor time of a small build.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import onnx
import onnx.compose
import torch
from torch import Tensor, nn

from ..models.efficientnet_lite import Backbone
from ..models.image_size import ImageSize, height_and_width
from ..models.onnx_backbone import write_backbone
from .editing import copy_model, replace_initializer

INPUT_NAME, OUTPUT_NAMES = "image", ("map", "score")


class ModelWithBackbone(Protocol):
    """A torch module that maps the features of its backbone to outputs."""

    backbone: Any


class _Whole(nn.Module):
    """Backbone and head as one network that also returns the features, so that the export names them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.detector = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features = self.detector.backbone(image)
        return *self.detector(features), *features


class _Head(nn.Module):
    """What follows the backbone, as a network of its own."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.detector = model  # the attribute's name is part of the initializer names in the exported graph

    def forward(self, *features: Tensor) -> Any:
        return self.detector(list(features))


def feature_names(model: ModelWithBackbone) -> list[str]:
    """Names of the tensors in the exported graph that hold the backbone's features, from shallow to deep."""
    return [f"features.{number}" for number in range(len(model.backbone.taps))]


def export_to_onnx(
    model: ModelWithBackbone, size: ImageSize, outputs: tuple[str, ...] = OUTPUT_NAMES
) -> onnx.ModelProto:
    """Export a model for one normalized image of 1 x 3 x height x width; batch normalization is folded in.

    Args:
        model: the fitted model
        size: size of the image
        outputs: names of the model's outputs
    """
    names, (height, width) = feature_names(model), height_and_width(size)
    if not isinstance(model.backbone, Backbone):
        exported = export_module(_Whole(model), size, (*outputs, *names))
        for value in [value for value in exported.graph.output if value.name in names]:
            exported.graph.output.remove(value)
        onnx.checker.check_model(exported)
        return exported
    with torch.inference_mode():
        features = model.backbone(torch.zeros(1, 3, height, width))
    head = _export(_Head(model), tuple(features), names, outputs)
    opset, shape = head.opset_import[0].version, (1, height, width)
    backbone = write_backbone(model.backbone, names, shape, opset, head.ir_version)
    exported = onnx.compose.merge_models(backbone, head, [(name, name) for name in names])
    del exported.opset_import[1:]  # both name the same one
    exported = onnx.shape_inference.infer_shapes(exported)
    onnx.checker.check_model(exported)
    return exported


def export_module(module: nn.Module, size: ImageSize, outputs: tuple[str, ...]) -> onnx.ModelProto:
    """Export any torch module for one image of 1 x 3 x height x width.

    Args:
        module: maps the image to as many tensors as `outputs` has names
        size: size of the image
        outputs: names of the outputs
    """
    return _export(module, (torch.zeros(1, 3, *height_and_width(size)),), [INPUT_NAME], outputs)


def _export(
    module: nn.Module, arguments: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                arguments,
                dynamo=True,
                external_data=False,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
            )
    finally:
        exporter_log.setLevel(level)
    assert program is not None  # torch returns a program whenever dynamo is on
    exported: onnx.ModelProto = program.model_proto
    _remove_source_metadata(exported)
    return exported


def update_weights(model: ModelWithBackbone, exported: onnx.ModelProto) -> onnx.ModelProto:
    """Copy of `exported` with the present weights of `model` outside its backbone.

    Args:
        model: the model, trained further since its export
        exported: the graph that was exported from it
    """
    updated = copy_model(exported)
    state = _Head(model).state_dict()
    for initializer in updated.graph.initializer:
        if initializer.name in state and "backbone" not in initializer.name.split("."):
            values = state[initializer.name].detach().numpy().reshape(tuple(initializer.dims))
            replace_initializer(initializer, values)
    return updated


def _remove_source_metadata(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes about source code: stack traces with the paths of this machine."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for entry in (*model.graph.node, *model.graph.initializer, *model.graph.value_info):
        del entry.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
