"""TensorRT through ONNX Runtime: the int8 ONNX file becomes one with an engine inside (an `EPContext` node).

An engine belongs to one kind of GPU and one version of TensorRT, so it is compiled on a machine like the device.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import onnxruntime

from vedette.runtime.errors import MachineProblem
from vedette.runtime.inference.backends.gpu import TensorrtBackend
from vedette.runtime.inference.backends.onnx import library_exceptions
from vedette.runtime.inference.backends.provider_library import find_provider_library

from . import CompilerInput, read_result

_PROVIDER = "TensorrtExecutionProvider"


class TensorrtCompiler:
    """Lets ONNX Runtime's TensorRT provider write what it compiles."""

    ending = "context.onnx"

    def __init__(self, variant: str = "") -> None:
        if _PROVIDER not in onnxruntime.get_available_providers() or find_provider_library("tensorrt") is None:
            what = f"--for tensorrt: onnxruntime {onnxruntime.__version__} here was built without TensorRT"
            raise MachineProblem(what, TensorrtBackend.install)
        self.target = variant or _read_gpu_name()
        self.tool = f"onnxruntime-gpu {onnxruntime.__version__}"

    def compile(self, given: CompilerInput, folder: Path) -> tuple[bytes, bytes]:
        path = folder / "context.onnx"
        dump = {"trt_dump_ep_context_model": "1", "trt_ep_context_file_path": str(path)}
        dump["trt_ep_context_embed_mode"] = "1"  # the engine inside the file, which the signature covers
        (name, settings), *others = TensorrtBackend.providers
        states: Any = onnxruntime.capi.onnxruntime_pybind11_state
        try:
            onnxruntime.InferenceSession(given.onnx, providers=[(name, settings | dump), *others], enable_fallback=0)
        except library_exceptions(states) as error:
            text = str(error).strip().splitlines()[0]
            raise MachineProblem(f"TensorRT does not start here: {text}", TensorrtBackend.install) from None
        return read_result(path), given.onnx


def _read_gpu_name() -> str:
    """The GPU of this machine.

    Raises:
        MachineProblem: there is none.
    """
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
        return name.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        board = Path("/proc/device-tree/model")
        if board.exists():
            return board.read_text().strip("\0\n ")
        hint = "compile on a machine with the same GPU as the device"
        raise MachineProblem("--for tensorrt: no NVIDIA GPU answers on this machine", hint) from None
