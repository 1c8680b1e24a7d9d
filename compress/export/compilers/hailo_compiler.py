"""Hailo's Dataflow Compiler: the float model becomes a Hailo executable (HEF), quantized by the compiler.

It does not read quantized graphs, so it gets the float model and calibration images, and its scales are its own. Hence
the wider tolerance of the back end `hailo`. `--for hailo:ARCHITECTURE` names the chip.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from vedette.runtime.errors import MachineProblem

from . import CompilerInput, call_compiler, read_result

_COMMAND, _DEFAULT = "hailo", "hailo8l"  # the chip of Raspberry Pi's AI Kit


class HailoCompiler:
    """Calls `hailo parser`, `hailo optimize` and `hailo compiler`."""

    ending = "hef"

    def __init__(self, variant: str = "") -> None:
        if shutil.which(_COMMAND) is None:
            hint = "install the Dataflow Compiler (hailo.ai, Developer Zone) and activate its environment"
            raise MachineProblem(f"--for hailo: {_COMMAND} is not on this machine's PATH", hint)
        self.target = variant or _DEFAULT
        self.tool = call_compiler([_COMMAND, "--version"], Path.cwd()).strip() or _COMMAND

    def compile(self, given: CompilerInput, folder: Path) -> tuple[bytes, bytes]:
        spec = given.manifest.input
        real = (given.calibration().astype(np.float32) - spec.zero_point) * np.float32(spec.scale)
        np.save(folder / "calibration.npy", real)
        (folder / "model.onnx").write_bytes(given.float_model)
        chip = ["--hw-arch", self.target]
        call_compiler([_COMMAND, "parser", "onnx", "model.onnx", "--har-path", "model.har", *chip, "-y"], folder)
        data = ["--calib-set-path", "calibration.npy", "--output-har-path", "quantized.har"]
        call_compiler([_COMMAND, "optimize", "model.har", *data, *chip], folder)
        call_compiler([_COMMAND, "compiler", "quantized.har", "--output-dir", str(folder), *chip], folder)
        made = sorted(folder.glob("*.hef"))
        return read_result(made[0] if made else folder / "model.hef"), given.float_model
