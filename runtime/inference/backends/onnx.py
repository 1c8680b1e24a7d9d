"""The ONNX Runtime back end."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from vedette.devices import read_host_profile

from ...bundle.manifest import Manifest
from ...errors import BundleProblem, MachineProblem

# x86 without VNNI adds pairs of u8 x s8 products in 16 bits, which overflow: outputs are wrong by up to a dozen steps.
# This option makes ONNX Runtime shift the weights to u8 there. With VNNI its kernels are exact without it, and it would
# halve their speed; on other architectures it changes nothing.
_VNNI_FEATURES = {"avx512_vnni", "avx_vnni"}
EXACT_KERNELS_OPTION = ("session.x64quantprecision", "0" if _VNNI_FEATURES & set(read_host_profile().features) else "1")


class OnnxBackend:
    """Runs the QDQ model, which ONNX Runtime fuses into integer kernels."""

    is_float = False

    def __init__(self, model: bytes, manifest: Manifest, threads: int) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as states
        except ImportError as error:
            raise MachineProblem(f"onnxruntime: {error}", hint="pip install onnxruntime") from None
        self.version = f"onnxruntime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry(*EXACT_KERNELS_OPTION)
        if threads > 1:  # threads that spin between frames would take the cores from the other cameras
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except library_exceptions(states) as error:
            raise BundleProblem(f"onnxruntime refuses the model: {error}", hint="upgrade onnxruntime") from None
        self.input_name = manifest.input.name
        self.shapes = {output.name: output.shape for output in manifest.outputs}

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        arrays = self.session.run(list(self.shapes), {self.input_name: tensor})
        return {name: array.reshape(shape) for (name, shape), array in zip(self.shapes.items(), arrays, strict=True)}

    def close(self) -> None:
        self.session = None


def library_exceptions(module: Any) -> tuple[type[Exception], ...]:
    """What the library raises: its own exceptions have no base of theirs but Exception."""
    own = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Exception)]
    return (RuntimeError, ValueError, *own)
