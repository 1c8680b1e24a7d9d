"""OpenVINO, float as it reads the ONNX file, or quantised by NNCF on its graph.

float         no quantisation, sums and products in float32
performance   NNCF's default: symmetric activations, fast bias correction
mixed         asymmetric activations, fast bias correction
bias          the same with bias correction layer by layer
"""

from __future__ import annotations

from typing import Any

import job
import nncf
import openvino


def quantise(told: dict[str, Any]) -> None:
    model = openvino.Core().read_model(told["float"])
    if told["way"] != "float":
        images = job.images(told)
        preset = nncf.QuantizationPreset.PERFORMANCE if told["way"] == "performance" else nncf.QuantizationPreset.MIXED
        model = nncf.quantize(
            model,
            nncf.Dataset(images),
            preset=preset,
            subset_size=len(images),
            fast_bias_correction=told["way"] != "bias",
        )
    openvino.save_model(model, f"{told['out']}.xml", compress_to_fp16=False)


if __name__ == "__main__":
    job.run(quantise, "openvino", "nncf")
