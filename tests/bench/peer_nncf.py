"""NNCF on an ONNX graph: its presets, and the slower of its two ways to correct biases.

performance   its default: symmetric activations, fast bias correction
mixed         asymmetric activations, fast bias correction
bias          the same with bias correction layer by layer
"""

from __future__ import annotations

from typing import Any

import job
import nncf
import onnx


def quantise(told: dict[str, Any]) -> None:
    feeds = [{told["input"]: each} for each in job.images(told)]
    preset = nncf.QuantizationPreset.PERFORMANCE if told["way"] == "performance" else nncf.QuantizationPreset.MIXED
    model = nncf.quantize(
        onnx.load(told["float"]),
        nncf.Dataset(feeds),
        preset=preset,
        subset_size=len(feeds),
        fast_bias_correction=told["way"] != "bias",
    )
    onnx.save(model, f"{told['out']}.onnx")


if __name__ == "__main__":
    job.run(quantise, "nncf", "onnxruntime", "onnx")
