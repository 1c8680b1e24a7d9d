"""The Edge TPU compiler: the int8 TFLite file becomes one with a part for the Edge TPU (see its manual at coral.ai).

It reads the same integers, so nothing is quantized again. What it cannot map stays in the file for the processor.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from vedette.runtime.bundle.manifest import TFLITE
from vedette.runtime.errors import ConfigProblem, MachineProblem

from . import CompilerInput, call_compiler, read_result

_COMMAND = "edgetpu_compiler"


class EdgeTpuCompiler:
    """Calls `edgetpu_compiler`."""

    ending = "tflite"

    def __init__(self, variant: str = "") -> None:
        if variant:
            raise ConfigProblem(f"--for edgetpu: there is one Edge TPU, and no {variant}", "leave it out")
        if shutil.which(_COMMAND) is None:
            hint = "apt install edgetpu-compiler from Coral's repository (x86-64): coral.ai/docs/edgetpu/compiler"
            raise MachineProblem(f"--for edgetpu: {_COMMAND} is not on this machine's PATH", hint)
        self.target = "edgetpu"
        self.tool = call_compiler([_COMMAND, "--version"], Path.cwd()).strip() or _COMMAND

    def compile(self, given: CompilerInput, folder: Path) -> tuple[bytes, bytes]:
        if TFLITE in given.manifest.floats:
            reason = given.manifest.floats[TFLITE]
            raise MachineProblem(f"the Edge TPU computes int8 alone, and the TFLite file is float: {reason}")
        (folder / "model.tflite").write_bytes(given.tflite)
        call_compiler([_COMMAND, "--out_dir", str(folder), "--show_operations", "model.tflite"], folder)
        return read_result(folder / "model_edgetpu.tflite"), given.tflite
