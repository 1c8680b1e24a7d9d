"""Ours, as the others are asked: post-training quantisation of a given float graph, nothing fitted or trained.

    plain      the default recipe
    bias       bias_correction = true
    learned    rounding = "learned" (100 steps per layer) and bias correction

A detector of others (`own`) goes the way of a network of the user's own, whose scales no recipe changes; the classifier
is lowered as such a network is, but the recipes hold in full. Both files are written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import job
import numpy as np
import onnx

from vedette.compress.export.tflite import write_tflite
from vedette.compress.goal.recipe import QuantizationSettings
from vedette.compress.graph.importers import lowering
from vedette.compress.quantization import quantize_imported
from vedette.compress.quantization.quantize import quantize
from vedette.runtime.bundle.manifest import ModelInput

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias_correction": True},
    "learned": {"rounding": "learned", "rounding_steps": 100, "bias_correction": True},
}


def quantise(told: dict[str, Any]) -> None:
    model, mean, std = onnx.load(told["float"]), told["mean"], told["std"]
    height, width = (dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[2:])
    spec = ModelInput(told["input"], width, height, mean, std, 1 / std, round(mean))
    images = [each[None] for each in np.load(told["pixels"])]
    if told["metric"] != "AUROC":
        model = lowering.lower_graph(model)
    recipe = QuantizationSettings(**RECIPES[told["way"]])
    if told["own"]:
        int8 = quantize_imported.quantize_graph(model, images, spec, recipe).int8_model
    else:
        bounded = {value.name: 0.0 for value in model.graph.output if value.name == "score"}
        int8 = quantize(recipe, model, images, spec, bounded)
    onnx.save(int8, f"{told['out']}.onnx")
    Path(f"{told['out']}.tflite").write_bytes(write_tflite(int8))


if __name__ == "__main__":
    job.run(quantise, "vedette", "onnxruntime", "onnx")
