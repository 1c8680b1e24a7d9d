"""Compilers for each device of a run: `--for edgetpu` holds for every device, `--for pi5=hailo:hailo8` for one.

Devices with the same model files share what a compiler made of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from vedette.runtime.errors import ConfigProblem

from . import Compiler, CompilerInput, load_compiler


class SharedCompiler:
    """A compiler that is asked once for each set of model files, however many bundles have them."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._made: dict[tuple[str, ...], tuple[bytes, bytes]] = {}
        self.target, self.tool, self.ending = compiler.target, compiler.tool, compiler.ending

    def compile(self, given: CompilerInput, folder: Path) -> tuple[bytes, bytes]:
        """As `Compiler.compile`; the calibration images follow from the goal file, which all bundles of a run share."""
        files = (given.onnx, given.tflite, given.float_model)
        key = tuple(hashlib.sha256(each).hexdigest() for each in files)
        if key not in self._made:
            self._made[key] = self._compiler.compile(given, folder)
        return self._made[key]


def load_compilers(targets: Sequence[str], devices: Sequence[str]) -> dict[str, dict[str, Compiler]]:
    """The compilers of `--for` by device and back end, looked for before any work.

    Args:
        targets: what `--for` was given
        devices: names of `--devices`; empty: a single device, whose name in the result is empty

    Raises:
        ConfigProblem: there is no such accelerator, a target names a device that is not built, or two targets have
            the same back end.
        MachineProblem: a compiler is not installed here.
    """
    compilers: dict[str, dict[str, Compiler]] = {device: {} for device in devices or ("",)}
    for target in targets:
        device, named, accelerator = target.rpartition("=")
        if named and device not in devices:
            hint = f"this run builds {', '.join(devices)}" if devices else "name the devices of the run with --devices"
            raise ConfigProblem(f"--for {target}: {device!r} is not built", hint=hint)
        name, compiler = load_compiler(accelerator)
        shared = SharedCompiler(compiler)
        for each in [device] if named else list(compilers):
            if name in compilers[each]:
                where = f" of {each}" if each else ""
                raise ConfigProblem(
                    f"--for {target}: the bundle{where} gets a model for {name} already", hint="leave one out"
                )
            compilers[each][name] = shared
    return compilers
