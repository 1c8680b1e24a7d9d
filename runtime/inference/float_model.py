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

from ..bundle.bundle import Bundle
from ..bundle.manifest import Manifest, Output

DIGEST = "sha256_fp32"
"""Key of `measured`."""


class Reference:
    """A float ONNX model, on one thread. It may be of another size than the int8 models that came of it.

    Args:
        model: the file
        manifest: of the int8 models
    """

    def __init__(self, model: bytes, manifest: Manifest) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.manifest = self._own(manifest)
        """What it takes and gives: real numbers."""

    def _own(self, manifest: Manifest) -> Manifest:
        (image,), made = self.session.get_inputs(), self.session.get_outputs()
        _, _, height, width = image.shape
        spec = msgspec.structs.replace(manifest.input, width=width, height=height)
        outputs = tuple(Output(each.name, tuple(each.shape), 1.0, 0) for each in made)
        return msgspec.structs.replace(manifest, input=spec, outputs=outputs)

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """1 x H x W x 3, u8, as the int8 models take it -> each output by name, real numbers."""
        spec = self.manifest.input
        return self.of((tensor.astype(np.float32) - spec.zero_point) * np.float32(spec.scale))

    def of(self, pixels: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """1 x H x W x 3, float32, normalised -> the same."""
        fed = {self.manifest.input.name: np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}
        names = [each.name for each in self.manifest.outputs]
        return dict(zip(names, self.session.run(names, fed), strict=True))


def beside(bundle: Bundle) -> Reference | None:
    """That of the bundle; None: it is not there, or it is another file."""
    path, digest = bundle.path.with_suffix(".float.onnx"), bundle.manifest.measured.get(DIGEST)
    if digest is None or not path.is_file():
        return None
    data = path.read_bytes()
    return Reference(data, bundle.manifest) if hashlib.sha256(data).hexdigest() == digest else None
