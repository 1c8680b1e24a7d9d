"""The float model that a bundle was made from, where it still lies beside it: to measure what int8 has cost.

It never ships. `vedette build` writes it as NAME.float.onnx, and the signed manifest has its digest, so that only that
very file is opened, and only after the bundle was verified.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle
from .manifest import Input, Manifest

DIGEST = "sha256_fp32"
"""Key of `measured`."""


class Reference:
    """A float ONNX model, on one thread."""

    def __init__(self, model: bytes, spec: Input) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.spec = spec

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """1 x H x W x 3, u8, as the int8 models take it -> each output by name, real numbers."""
        return self.of((tensor.astype(np.float32) - self.spec.zero_point) * np.float32(self.spec.scale))

    def of(self, pixels: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """1 x H x W x 3, float32, normalised -> the same."""
        outputs = self.session.run(None, {self.spec.name: np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})
        return dict(zip(self.names, outputs, strict=True))


def real(manifest: Manifest) -> Manifest:
    """The manifest for outputs that are real numbers already."""
    outputs = tuple(msgspec.structs.replace(each, scale=1.0, zero_point=0) for each in manifest.outputs)
    return msgspec.structs.replace(manifest, outputs=outputs)


def beside(bundle: Bundle) -> Reference | None:
    """That of the bundle; None: it is not there, or it is another file."""
    path, digest = bundle.path.with_suffix(".float.onnx"), bundle.manifest.measured.get(DIGEST)
    if digest is None or not path.is_file():
        return None
    data = path.read_bytes()
    return Reference(data, bundle.manifest.input) if hashlib.sha256(data).hexdigest() == digest else None
