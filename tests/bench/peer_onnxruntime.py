"""ONNX Runtime's own quantiser: `quantize_static`, after `quant_pre_process` as its manual advises.

default                         what it does when asked for nothing: s8 activations, s8 weights, a scale per tensor
minmax, percentile, entropy     u8 activations, s8 weights with a scale per channel, ranges in one of its ways
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import job
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


class Reader(CalibrationDataReader):
    def __init__(self, feeds: list[dict[str, Any]]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> dict[str, Any] | None:
        return next(self.feeds, None)


def quantise(told: dict[str, Any]) -> None:
    ready = Path(f"{told['out']}.ready.onnx")
    quant_pre_process(told["float"], ready, skip_symbolic_shape=True)
    feeds = Reader([{told["input"]: each} for each in job.images(told)])
    settings: dict[str, Any] = {}
    if told["way"] != "default":
        settings = {"per_channel": True, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        settings["calibrate_method"] = METHODS[told["way"]]
    quantize_static(ready, f"{told['out']}.onnx", feeds, **settings)
    ready.unlink()


if __name__ == "__main__":
    job.run(quantise, "onnxruntime", "onnx")
