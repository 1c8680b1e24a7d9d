"""What was fitted becomes a float ONNX graph: the model that everything after it is measured against."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import Any, Protocol

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

INPUT, OUTPUTS = "image", ("map", "score")


class Fitted(Protocol):
    """A torch module over the features of a backbone, or of what stands for one."""

    backbone: Any


class _Whole(nn.Module):
    """Backbone and detector as one network, whose features get names that later steps can find."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features = self.detector.backbone(image)
        return *self.detector(features), *features


def feature_names(detector: Fitted) -> list[str]:
    """The tensors of the exported graph that hold the detector's features, from shallow to deep."""
    return [f"features.{number}" for number in range(len(detector.backbone.taps))]


def to_onnx(detector: Fitted, size: int, outputs: tuple[str, ...] = OUTPUTS) -> onnx.ModelProto:
    """The graph of `detector` for one image of 1 x 3 x size x size, normalised; batch normalisation is folded in."""
    features = feature_names(detector)
    model = network(_Whole(detector), size, (*outputs, *features))
    for value in [value for value in model.graph.output if value.name in features]:
        model.graph.output.remove(value)
    onnx.checker.check_model(model)
    return model


def network(module: nn.Module, size: int, outputs: tuple[str, ...]) -> onnx.ModelProto:
    """The graph of any network for one image of 1 x 3 x size x size, with names for all its outputs."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                (torch.zeros(1, 3, size, size),),
                dynamo=True,
                external_data=False,
                input_names=[INPUT],
                output_names=list(outputs),
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
    assert program is not None  # with dynamo it always is a program
    model: onnx.ModelProto = program.model_proto
    _forget_origin(model)
    return model


def with_constants_of(detector: Fitted, model: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, once exported from `detector`, with what the detector has learnt since."""
    renewed = onnx.ModelProto()
    renewed.CopyFrom(model)
    learnt = _Whole(detector).state_dict()
    for constant in renewed.graph.initializer:
        if constant.name in learnt and not constant.name.startswith("detector.backbone."):
            value = learnt[constant.name].detach().numpy().reshape(tuple(constant.dims))
            constant.CopyFrom(numpy_helper.from_array(value, constant.name))
    return renewed


def _forget_origin(model: onnx.ModelProto) -> None:
    """Takes out what the exporter noted about the source code: stack traces with the paths of this machine."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for entry in (*model.graph.node, *model.graph.initializer, *model.graph.value_info):
        del entry.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
