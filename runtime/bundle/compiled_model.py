"""A model that a vendor's compiler made for one accelerator: what the manifest says of it, and checks of its file.

No compiled file can be checked as closely as an ONNX or TFLite file: its content belongs to the vendor. So it must name
no other file, hold something for the accelerator that it is for, and the signature says whom to ask.
"""

from __future__ import annotations

import msgspec

from .binary_formats import FlatTable, ModelFileError
from .onnx_checks import check_onnx_file
from .tflite_checks import check_tflite_file

TENSORRT, EDGETPU, HAILO = "tensorrt", "edgetpu", "hailo"
TARGETS = (EDGETPU, HAILO, TENSORRT)
EDGETPU_OPERATOR = b"edgetpu-custom-op"  # the only operator of a compiled part (coral.ai, Edge TPU compiler)
_CUSTOM = 32  # BuiltinOperator of LiteRT's schema
_HEF_MAGIC = b"\x01HEF"  # hailort: HEADER_MAGIC, big-endian


class CompiledModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of `compiled` in the manifest."""

    file: str
    """Member of the bundle."""
    target: str
    """The accelerator, as the compiler names it: `edgetpu`, `hailo8l`, or the GPU of a TensorRT engine."""
    tool: str
    """The compiler and its version."""
    source: str
    """SHA-256 of the file that was compiled: the ONNX or TFLite member, or for Hailo the float model."""


def check_compiled_file(backend: str, content: bytes, memory: int) -> None:
    """Checks the bytes of a compiled model.

    Args:
        backend: the back end that it is for
        content: the file
        memory: most bytes that the tensors outside the compiled part may have together

    Raises:
        ModelFileError: the file is damaged, names another file, or holds nothing for the accelerator.
    """
    if backend == TENSORRT:
        check_onnx_file(content, memory, context=True)
    elif backend == EDGETPU:
        check_tflite_file(content, memory, custom_operators=True)
        _check_edgetpu_operators(content)
    elif content[:4] != _HEF_MAGIC:
        raise ModelFileError("not a Hailo executable (HEF)")


def _check_edgetpu_operators(content: bytes) -> None:
    """The only operator outside the standard is that of the Edge TPU, and there is one."""
    codes = FlatTable.root(content).tables(1)
    custom = [code.bytes(1) for code in codes if _CUSTOM in (code.integer(0, "b"), code.integer(3, "i"))]
    if not custom:
        raise ModelFileError("no operator was compiled for the Edge TPU: everything would run on the processor")
    if foreign := [name for name in custom if name != EDGETPU_OPERATOR]:
        raise ModelFileError(f"the operator {foreign[0][:60]!r}, which is not the Edge TPU's")
