"""LiteRT, or the older tflite-runtime where that is what the machine has.

The file's activations are s8 with zero points 128 lower than in ONNX; flipping the top bit of a byte turns one into the
other, so both back ends speak u8 outside.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..manifest import Manifest
from ..problem import MachineProblem

_FLIP = np.uint8(0x80)


class Tflite:
    """The TFLite model."""

    def __init__(self, model: bytes, manifest: Manifest, threads: int) -> None:
        interpreter, self.version = _interpreter()
        try:
            self.interpreter = interpreter(model_content=model, num_threads=threads)
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError, SystemError) as error:
            raise MachineProblem(f"{self.version} refuses the model: {error}", hint="upgrade ai-edge-litert") from None
        self.input = self.interpreter.get_input_details()[0]["index"]
        indices = {detail["name"]: detail["index"] for detail in self.interpreter.get_output_details()}
        self.outputs = [(output.name, indices[output.name], output.shape) for output in manifest.outputs]

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        self.interpreter.set_tensor(self.input, (tensor ^ _FLIP).view(np.int8))
        self.interpreter.invoke()
        arrays = ((name, self.interpreter.get_tensor(index), shape) for name, index, shape in self.outputs)
        return {name: (array.view(np.uint8) ^ _FLIP).reshape(shape) for name, array, shape in arrays}


def _interpreter() -> tuple[Any, str]:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        pass
    else:
        return Interpreter, f"ai-edge-litert {version('ai-edge-litert')}"
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError:
        raise MachineProblem(
            "neither LiteRT nor tflite-runtime is installed", hint="pip install ai-edge-litert"
        ) from None
    else:
        return Interpreter, f"tflite-runtime {version('tflite-runtime')}"
