"""The float model of a bundle, if its file lies beside the bundle: it measures what int8 quantization costs.

It is never deployed. `vedette build` writes it as NAME.float.onnx, and the signed manifest holds its digest. So only
that file is opened, and only after the bundle was verified.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.manifest import Manifest, ModelOutput

DIGEST_KEY = "sha256_fp32"
"""Key of `measured` in the manifest."""


class FloatModel:
    """A float ONNX model on one thread. Its input size may differ from that of the int8 models.

    Args:
        model: the file's bytes
        manifest: of the int8 models
    """

    def __init__(self, model: bytes, manifest: Manifest) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.manifest = self._float_manifest(manifest)
        """The manifest with the input and outputs of the float model: scale 1, zero point 0."""

    def _float_manifest(self, manifest: Manifest) -> Manifest:
        (image,), made = self.session.get_inputs(), self.session.get_outputs()
        _, _, height, width = image.shape
        spec = msgspec.structs.replace(manifest.input, width=width, height=height)
        outputs = tuple(ModelOutput(each.name, tuple(each.shape), 1.0, 0) for each in made)
        return msgspec.structs.replace(manifest, input=spec, outputs=outputs)

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """1 x H x W x 3, uint8, as for the int8 models -> each output by name, float32."""
        spec = self.manifest.input
        return self.run_normalized((tensor.astype(np.float32) - spec.zero_point) * np.float32(spec.scale))

    def run_normalized(self, pixels: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """1 x H x W x 3, float32, normalized -> each output by name, float32."""
        fed = {self.manifest.input.name: np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}
        names = [each.name for each in self.manifest.outputs]
        return dict(zip(names, self.session.run(names, fed), strict=True))


def find_beside_bundle(bundle: Bundle) -> FloatModel | None:
    """The float model of a bundle; None: the file does not exist, or its digest differs."""
    path, digest = bundle.path.with_suffix(".float.onnx"), bundle.manifest.measured.get(DIGEST_KEY)
    if digest is None or not path.is_file():
        return None
    data = path.read_bytes()
    return FloatModel(data, bundle.manifest) if hashlib.sha256(data).hexdigest() == digest else None
