"""Compilers of accelerators: what `vedette build --for` calls.

A compiler belongs to the vendor and is not installed with the workshop. Each class looks for it when it is created,
before any work, and names what is missing. A compiled model cannot run here; the device compares it with the golden
outputs before it uses it, as it does with every model.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from vedette.runtime.bundle.compiled_model import EDGETPU, HAILO, TENSORRT
from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.errors import MachineProblem
from vedette.runtime.plugin_tables import load_plugin

COMPILERS = {
    EDGETPU: ".edgetpu_compiler:EdgeTpuCompiler",
    HAILO: ".hailo_compiler:HailoCompiler",
    TENSORRT: ".tensorrt_compiler:TensorrtCompiler",
}
MAX_SECONDS = 3600


class CompilerInput(msgspec.Struct, frozen=True):
    """What a compiler may read."""

    manifest: Manifest
    onnx: bytes
    """The int8 ONNX file."""
    tflite: bytes
    """The int8 TFLite file."""
    float_model: bytes
    """The float ONNX file."""
    calibration: Callable[[], NDArray[Any]]
    """Images as the model sees them, N x H x W x 3, uint8."""


class Compiler(Protocol):
    """A compiler that is installed here."""

    target: str
    """The accelerator, as the compiler names it."""
    tool: str
    """Name and version."""
    ending: str
    """Of the compiled file."""

    def compile(self, given: CompilerInput, folder: Path) -> tuple[bytes, bytes]:
        """The compiled file, and the file that was compiled; `folder` is empty and for the compiler's files.

        Raises:
            MachineProblem: the compiler fails.
        """


def load_compiler(text: str) -> tuple[str, Compiler]:
    """Back end and compiler of `--for`, for example `edgetpu` or `hailo:hailo8`.

    Raises:
        ConfigProblem: there is no such accelerator.
        MachineProblem: its compiler is not installed here.
    """
    name, _, variant = text.partition(":")
    compiler: Compiler = load_plugin(__package__, COMPILERS, name, "--for")(variant)
    return name, compiler


def call_compiler(command: list[str], folder: Path) -> str:
    """Runs a compiler in `folder`; returns what it printed.

    Raises:
        MachineProblem: it fails, or takes longer than an hour.
    """
    try:
        done = subprocess.run(  # noqa: S603  # a compiler that the user has installed and asked for
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=MAX_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineProblem(f"{command[0]}: {error}", "see the compiler's manual") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()
        raise MachineProblem(f"{command[0]} fails: {lines[-1]}", f"what it was asked: {' '.join(command)}")
    return done.stdout


def read_result(path: Path) -> bytes:
    """The file that a compiler should have written.

    Raises:
        MachineProblem: it wrote none.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "install a version of the compiler that docs/devices.md names"
        raise MachineProblem(f"the compiler wrote no {path.name}: {error.strerror}", hint) from None
