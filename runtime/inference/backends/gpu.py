"""The back ends `cuda` and `tensorrt`: ONNX Runtime on an NVIDIA GPU.

If a provider cannot start, ONNX Runtime runs the model on the processor, with a line on stderr at most. Here that is an
error: a session must have the provider, and the provider must have operators. What is left to the processor is told in
`version`.

`cuda` runs the bundle's ONNX file. Its kernels compute in float32 between the quantizers (TF32 is off), so that a value
near a rounding tie may come out one step off. `tensorrt` runs the engine of the bundle (`compiled`), or compiles the
ONNX file at each start, which takes minutes. TensorRT's own int8 kernels need signed values with zero point 0; what it
leaves is CUDA's.

Imprecise: neither was run on a GPU by us (docs/devices.md).
"""

from __future__ import annotations

import ctypes
from typing import Any

from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...errors import BundleProblem, MachineProblem
from .onnx import library_exceptions
from .provider_library import find_provider_library

_INSTALL = (
    "pip uninstall onnxruntime && pip install onnxruntime-gpu (Jetson: the wheel for its JetPack), "
    "with the driver, CUDA and cuDNN that it names"
)
_GPU_MEMORY = 1 << 30
_RECORD, _STRICT = "session.record_ep_graph_assignment_info", "session.disable_cpu_ep_fallback"


def _find_reason(provider: str) -> str:
    """Why a provider does not start: ONNX Runtime says it on stderr alone."""
    name = provider.removesuffix("ExecutionProvider").lower()
    if (library := find_provider_library(name)) is None:
        return "its provider is not installed"
    try:
        ctypes.CDLL(str(library.with_name("libonnxruntime_providers_shared.so")), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return "no GPU answers, or its driver is too old"


class CudaBackend:
    """Runs the QDQ model by ONNX Runtime's CUDA provider."""

    is_float = False
    name, install = "CUDA", _INSTALL
    providers: tuple[tuple[str, dict[str, str]], ...] = (
        (
            "CUDAExecutionProvider",
            # The exhaustive search for the fastest kernel may end differently at each start.
            {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC", "gpu_mem_limit": str(_GPU_MEMORY)},
        ),
    )

    def __init__(self, model: bytes, manifest: Manifest, threads: int) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as states
        except ImportError as error:
            raise MachineProblem(f"{self.name}: onnxruntime is not here: {error}", self.install) from None
        provider, version = self.providers[0][0], onnxruntime.__version__
        if provider not in onnxruntime.get_available_providers():
            raise MachineProblem(f"{self.name}: onnxruntime {version} here was built without it", self.install)
        records = hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it would say is in the exceptions below
        options.add_session_config_entry(_RECORD if records else _STRICT, "1")
        try:
            self.session: Any = onnxruntime.InferenceSession(
                model, options, providers=list(self.providers), enable_fallback=0
            )
        except library_exceptions(states) as error:
            text = str(error)
            if type(error) is RuntimeError or "CUDA" in text or "assigned to the default CPU EP" in text:
                reason = f"{_find_reason(provider)}; {text.strip().splitlines()[0].rpartition('&) ')[2]}"
                raise MachineProblem(f"{self.name} does not start here ({reason})", self.install) from None
            raise BundleProblem(f"onnxruntime refuses the model: {text}", hint="upgrade onnxruntime-gpu") from None
        self._check_providers(provider, version, records)
        self.input_name = manifest.input.name
        self.shapes = {output.name: output.shape for output in manifest.outputs}

    def _check_providers(self, provider: str, version: str, records: bool) -> None:
        """The session did not fall back to the processor."""
        if provider not in self.session.get_providers():
            raise MachineProblem(
                f"{self.name} does not start here ({_find_reason(provider)}): "
                f"onnxruntime {version} would run the model on the processor instead",
                self.install,
            )
        left = ""
        if records:
            counts = dict[str, int]()
            for part in self.session.get_provider_graph_assignment_info():
                counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
            slow, total = counts.get("CPUExecutionProvider", 0), sum(counts.values())
            if not counts.get(provider):
                raise MachineProblem(f"{self.name} took none of the model's {total} operators", self.install)
            left = f", {slow} of {total} operators on the processor" if slow else ""
        self.version = f"onnxruntime-gpu {version} {self.name}{left}"

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        arrays = self.session.run(list(self.shapes), {self.input_name: tensor})
        return {name: array.reshape(shape) for (name, shape), array in zip(self.shapes.items(), arrays, strict=True)}

    def close(self) -> None:
        self.session = None


class TensorrtBackend(CudaBackend):
    """Runs the engine of the bundle, or the QDQ model, by ONNX Runtime's TensorRT provider."""

    name, install = "TensorRT", f"{_INSTALL}, and TensorRT"
    providers = (
        (
            "TensorrtExecutionProvider",
            {"trt_int8_enable": "1", "trt_fp16_enable": "0", "trt_max_workspace_size": str(_GPU_MEMORY // 2)},
        ),
        *CudaBackend.providers,
    )
