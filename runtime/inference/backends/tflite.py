"""The TFLite back end: LiteRT, or the older tflite-runtime if that is installed instead.

The activations of the file are int8, with zero points 128 lower than in ONNX. Flipping the top bit of a byte converts
one into the other, so both back ends take and return uint8. A file that computes in float gets the real values of the
pixels, and its outputs are quantized with the manifest's scales.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest, ModelOutput
from ...errors import BundleProblem, MachineProblem

_SIGN_BIT = np.uint8(0x80)
_STDERR, _NOTE = 2, b"INFO:"


class TfliteBackend:
    """Runs the TFLite model."""

    def __init__(self, model: bytes, manifest: Manifest, threads: int) -> None:
        interpreter, self.version = load_interpreter()
        delegates = self._load_delegates(interpreter)
        try:
            with notes_left_out():
                self.interpreter: Any = interpreter(
                    model_content=model, num_threads=threads, experimental_delegates=delegates
                )
                self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError, SystemError) as error:
            raise BundleProblem(f"{self.version} refuses the model: {error}", hint="upgrade ai-edge-litert") from None
        detail = self.interpreter.get_input_details()[0]
        self.input_index, self.input_spec = detail["index"], manifest.input
        self.is_float = bool(detail["dtype"] == np.float32)
        indices = {detail["name"]: detail["index"] for detail in self.interpreter.get_output_details()}
        if lost := [output.name for output in manifest.outputs if output.name not in indices]:
            raise BundleProblem(f"the model has no output {', '.join(lost)}", hint="build the bundle again")
        self.outputs = [(output, indices[output.name]) for output in manifest.outputs]

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        self.interpreter.set_tensor(self.input_index, self._input_array(tensor))
        self.interpreter.invoke()
        arrays = ((output, self.interpreter.get_tensor(index)) for output, index in self.outputs)
        return {output.name: self._output_array(output, array).reshape(output.shape) for output, array in arrays}

    def close(self) -> None:
        self.interpreter = None

    def _load_delegates(self, interpreter: Any) -> list[Any]:
        """What runs parts of the model instead of the library, and is named in `version`."""
        return []

    def _input_array(self, tensor: NDArray[Any]) -> NDArray[Any]:
        if not self.is_float:
            return (tensor ^ _SIGN_BIT).view(np.int8)
        real: NDArray[Any] = np.float32(self.input_spec.scale) * (
            tensor.astype(np.float32) - self.input_spec.zero_point
        )
        return real

    def _output_array(self, output: ModelOutput, array: NDArray[Any]) -> NDArray[np.uint8]:
        if not self.is_float:
            return array.view(np.uint8) ^ _SIGN_BIT
        steps: NDArray[Any] = np.rint(array / output.scale) + output.zero_point
        return steps.clip(0, 255).astype(np.uint8)


@contextmanager
def notes_left_out() -> Iterator[None]:
    """Leaves lines that begin with `INFO:` out of what the library writes to stderr; its warnings follow afterwards."""
    shown = os.dup(_STDERR)
    with os.fdopen(os.memfd_create("vedette-notes"), "w+b") as written:
        os.dup2(written.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(shown, _STDERR)
            os.close(shown)
            written.seek(0)
            os.write(_STDERR, b"".join(line for line in written if not line.startswith(_NOTE)))


def load_interpreter() -> tuple[Any, str]:
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
