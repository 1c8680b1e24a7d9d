"""Which member of a bundle a back end runs, and the checks of that file before a library reads it."""

from __future__ import annotations

from .compiled_model import TENSORRT, check_compiled_file
from .manifest import ONNX, TFLITE, Manifest
from .onnx_checks import check_onnx_file
from .tflite_checks import check_tflite_file

CUDA = "cuda"
ON_ONNX = frozenset({ONNX, CUDA, TENSORRT})
"""Back ends that run the ONNX file; `tensorrt` only if the bundle has no engine for it."""


def model_member(manifest: Manifest, backend: str) -> str | None:
    """The member that a back end runs; None: the bundle has none for it."""
    if backend in manifest.compiled:
        return manifest.compiled[backend].file
    return manifest.models.get(ONNX if backend in ON_ONNX else backend)


def check_model_file(manifest: Manifest, backend: str, content: bytes, memory: int) -> None:
    """Checks the file that a back end runs.

    Args:
        manifest: of the bundle
        backend: its name
        content: the file
        memory: most bytes that its tensors may have together

    Raises:
        ModelFileError: the file is damaged, or has what no model of a bundle needs.
    """
    if backend in manifest.compiled:
        check_compiled_file(backend, content, memory)
    elif backend == TFLITE:
        check_tflite_file(content, memory)
    else:
        check_onnx_file(content, memory)
