"""AIMET on an ONNX graph: weights with a scale per channel, unsigned activations.

minmax     ranges from the smallest and largest values, weights rounded to the nearest
adaround   the same with AdaRound, STEPS steps for each operator with weights
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aimet_onnx
import job
import onnx

STEPS = 1000
"""Its manual recommends 10,000."""
CONFIG = Path(aimet_onnx.__file__).parent / "common" / "quantsim_config" / "default_config_per_channel.json"


def quantise(told: dict[str, Any]) -> None:
    feeds = [{told["input"]: each} for each in job.images(told)]
    simulation = aimet_onnx.QuantizationSimModel(onnx.load(told["float"]), config_file=str(CONFIG))
    if told["way"] == "adaround":
        aimet_onnx.apply_adaround(simulation, feeds, num_iterations=STEPS)
    simulation.compute_encodings(feeds)
    onnx.save(simulation.to_onnx_qdq(prequantize_constants=True, export_int32_bias=True), f"{told['out']}.onnx")


if __name__ == "__main__":
    job.run(quantise, "aimet-onnx", "onnxruntime", "onnx")
