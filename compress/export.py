"""A fitted detector becomes a float ONNX graph: the model that everything after it is measured against."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import Any

import onnx
import torch

INPUT, OUTPUTS = "image", ("map", "score")


def to_onnx(detector: Any, size: int) -> onnx.ModelProto:
    """The graph of `detector` for one image of 1 x 3 x size x size, normalised; batch normalisation is folded in."""
    example = torch.zeros(1, 3, size, size)
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                detector.eval(),
                (example,),
                dynamo=True,
                external_data=False,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
    assert program is not None  # with dynamo it always is a program
    model = program.model_proto
    _forget_origin(model)
    onnx.checker.check_model(model)
    return model


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
