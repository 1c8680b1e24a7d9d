"""The back end `hailo`: a Hailo executable (HEF) of the bundle, by HailoRT.

Hailo's compiler quantizes the float model with scales of its own, so this is not the arithmetic of the bundle's int8
files: HailoRT takes and gives real values, which are quantized here with the manifest's scales. The tolerance for the
golden outputs is wider (golden_outputs.py), and a model beyond it is refused as by every other back end.

Outputs of a HEF have names of the compiler's. They are matched by their number of elements; two outputs of one size
cannot be told apart, and the model is refused.

Imprecise: it was not run on a Hailo device by us (docs/devices.md). The calls are those of HailoRT's InferModel, which
Hailo-8, 8L and 10H have.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...errors import BundleProblem, MachineProblem

_INSTALL = "apt install hailo-all (Raspberry Pi OS), or HailoRT with its Python package from hailo.ai"
_TIMEOUT_MILLISECONDS = 10_000


_STAGED: dict[bytes, str] = {}


def stage_model(model: bytes) -> str:
    """The path of a model in memory: HailoRT reads a path. A process that may write no files calls it before that."""
    if model not in _STAGED:
        descriptor = os.memfd_create("vedette-hef")
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(model)
        _STAGED[model] = f"/proc/self/fd/{descriptor}"
    return _STAGED[model]


class HailoBackend:
    """Runs the HEF."""

    is_float = False

    def __init__(self, model: bytes, manifest: Manifest, threads: int) -> None:
        try:
            import hailo_platform
        except ImportError as error:
            raise MachineProblem(f"Hailo: HailoRT for Python is not here: {error}", _INSTALL) from None
        self.version = f"hailort {getattr(hailo_platform, '__version__', 'of unknown version')}"
        self.spec, self._parts = manifest.input, list[Any]()
        try:
            self._device: Any = hailo_platform.VDevice()
            self._parts.append(self._device)
            self._model = self._device.create_infer_model(stage_model(model))
            kind = hailo_platform.FormatType.FLOAT32
            self._model.input().set_format_type(kind)
            for name in self._model.output_names:
                self._model.output(name).set_format_type(kind)
            self._configured: Any = self._model.configure()
            self._parts.append(self._configured)
        except Exception as error:  # noqa: BLE001  # HailoRT's exceptions have no base of theirs but Exception
            self.close()
            if "HEF" in type(error).__name__ or "HEF" in str(error):
                raise BundleProblem(f"{self.version} refuses the model: {error}", hint="upgrade HailoRT") from None
            raise MachineProblem(f"Hailo: no device answers: {type(error).__name__}: {error}", _INSTALL) from None
        self._names = self._match_outputs(manifest)
        self.outputs = manifest.outputs
        self._shape = (1, manifest.input.height, manifest.input.width, 3)

    def _match_outputs(self, manifest: Manifest) -> dict[str, str]:
        """Name in the manifest -> name in the HEF."""
        sizes = {name: int(np.prod(self._model.output(name).shape)) for name in self._model.output_names}
        names = {}
        for output in manifest.outputs:
            fitting = [name for name, size in sizes.items() if size == int(np.prod(output.shape))]
            if len(fitting) != 1:
                self.close()
                what = f"{len(fitting)} outputs of {int(np.prod(output.shape))} values for {output.name}"
                raise BundleProblem(f"the Hailo model has {what}", hint="use another back end")
            names[output.name] = fitting[0]
        return names

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        if tensor.shape != self._shape:
            raise ValueError(f"a tensor of shape {tensor.shape}; {self._shape} is due")
        real = (tensor[0].astype(np.float32) - self.spec.zero_point) * np.float32(self.spec.scale)
        bindings = self._configured.create_bindings()
        bindings.input().set_buffer(np.ascontiguousarray(real))
        found = {name: np.empty(self._model.output(name).shape, np.float32) for name in self._names.values()}
        for name, buffer in found.items():
            bindings.output(name).set_buffer(buffer)
        self._configured.run([bindings], _TIMEOUT_MILLISECONDS)
        arrays = {}
        for output in self.outputs:
            steps = np.rint(found[self._names[output.name]] / output.scale) + output.zero_point
            arrays[output.name] = steps.clip(0, 255).astype(np.uint8).reshape(output.shape)
        return arrays

    def close(self) -> None:
        while self._parts:
            part = self._parts.pop()
            getattr(part, "release", getattr(part, "shutdown", lambda: None))()
        self._configured = None
