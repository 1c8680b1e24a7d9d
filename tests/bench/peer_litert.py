"""litert-quantizer (once ai-edge-quantizer) on onnx2tf's float TFLite file: its recipe for 8-bit integers throughout.

static    static_wi8_ai8: s8 activations, s8 weights with a scale per channel
"""

from __future__ import annotations

from typing import Any

import job
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import quantizer, recipe


def quantise(told: dict[str, Any]) -> None:
    interpreter = Interpreter(told["tflite"])
    ((signature, ends),) = interpreter.get_signature_list().items()
    (name,) = ends["inputs"]
    shape = interpreter.get_input_details()[0]["shape"]
    turned = [each if shape[1] == 3 else each.transpose(0, 2, 3, 1).copy() for each in job.images(told)]
    worker = quantizer.Quantizer(told["tflite"], recipe.static_wi8_ai8())
    ranges = worker.calibrate({signature: [{name: each} for each in turned]}, num_threads=1)
    worker.quantize(ranges).export_model(f"{told['out']}.tflite", overwrite=True)


if __name__ == "__main__":
    job.run(quantise, "litert-quantizer", "ai-edge-litert")
