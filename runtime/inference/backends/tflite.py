"""LiteRT, or the older tflite-runtime where that is what the machine has.

The file's activations are s8 with zero points 128 lower than in ONNX; flipping the top bit of a byte turns one into the
other, so both back ends speak u8 outside. So does a file that computes in float, which is given the real values of the
pixels; what it gives is rounded to the manifest's steps.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest, Output
from ...errors import MachineProblem

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
        detail = self.interpreter.get_input_details()[0]
        self.input, self.real, self.spec = detail["index"], bool(detail["dtype"] == np.float32), manifest.input
        indices = {detail["name"]: detail["index"] for detail in self.interpreter.get_output_details()}
        self.outputs = [(output, indices[output.name]) for output in manifest.outputs]

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        self.interpreter.set_tensor(self.input, self._given(tensor))
        self.interpreter.invoke()
        arrays = ((output, self.interpreter.get_tensor(index)) for output, index in self.outputs)
        return {output.name: self._made(output, array).reshape(output.shape) for output, array in arrays}

    def _given(self, tensor: NDArray[Any]) -> NDArray[Any]:
        if not self.real:
            return (tensor ^ _FLIP).view(np.int8)
        real: NDArray[Any] = np.float32(self.spec.scale) * (tensor.astype(np.float32) - self.spec.zero_point)
        return real

    def _made(self, output: Output, array: NDArray[Any]) -> NDArray[np.uint8]:
        if not self.real:
            return array.view(np.uint8) ^ _FLIP
        steps: NDArray[Any] = np.rint(array / output.scale) + output.zero_point
        return steps.clip(0, 255).astype(np.uint8)


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
