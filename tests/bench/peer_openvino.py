"""OpenVINO, float as it reads the ONNX file, or quantised by NNCF on its graph.

float         no quantisation, sums and products in float32
bfloat16      no quantisation, in bfloat16, as OpenVINO does it unasked where the processor can
performance   NNCF's default: symmetric activations, fast bias correction
mixed         asymmetric activations, fast bias correction
bias          the same with bias correction layer by layer

What is left of float in a quantised graph is in float32. The file says itself how it is to be computed.
"""

from __future__ import annotations

from typing import Any

import job
import nncf
import openvino


def quantise(told: dict[str, Any]) -> None:
    model = openvino.convert_model(told["float"])  # read_model leaves biases where NNCF does not find them
    if told["way"] not in ("float", "bfloat16"):
        images = job.images(told)
        preset = nncf.QuantizationPreset.PERFORMANCE if told["way"] == "performance" else nncf.QuantizationPreset.MIXED
        model = nncf.quantize(
            model,
            nncf.Dataset(images),
            preset=preset,
            subset_size=len(images),
            fast_bias_correction=told["way"] != "bias",
        )
    model.set_rt_info("bf16" if told["way"] == "bfloat16" else "f32", "precision")
    openvino.save_model(model, f"{told['out']}.xml", compress_to_fp16=False)


if __name__ == "__main__":
    job.run(quantise, "openvino", "nncf")
