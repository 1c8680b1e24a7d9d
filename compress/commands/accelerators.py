"""What `vedette build --for` does after the build: the compilers' input, and the bundle with what they made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from vedette.runtime.bundle import archive
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.manifest import ONNX, TFLITE
from vedette.runtime.camera import image_files
from vedette.runtime.camera.privacy_warnings import fitted_zones
from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.progress import Log

from ..build import BuildResult
from ..data.split import model_inputs
from ..export.compiled_bundle import add_compiled_models
from ..export.compilers import Compiler, CompilerInput
from ..report.judgement import Judgement
from ..report.verdict import Verdict

MAX_IMAGES = 512
"""Calibration images that a compiler gets."""


def add_accelerators(
    result: BuildResult,
    compilers: Mapping[str, Compiler],
    key: Ed25519PrivateKey,
    max_bytes: int | None,
    log: Log,
) -> BuildResult:
    """Compile the models of a finished build, and judge `max_bytes` again; args and errors as `add_compiled_models`."""
    if not compilers:
        return result
    manifest, members = result.manifest, archive.unpack_archive(result.bundle)
    inspector = Inspector.from_bundle(Bundle(result.bundle, manifest, members, ""))

    def calibration() -> NDArray[Any]:
        paths: list[Path] = list(result.split.calibrate)[:MAX_IMAGES]
        with image_files.black_zones(fitted_zones(manifest)):
            return np.concatenate(list(model_inputs(paths, manifest.input, inspector)))

    given = CompilerInput(
        manifest,
        onnx=members[manifest.models[ONNX]],
        tflite=members[manifest.models[TFLITE]],
        float_model=result.bundle.with_suffix(".float.onnx").read_bytes(),
        calibration=calibration,
    )
    compiled = add_compiled_models(result.bundle, given, compilers, key, max_bytes, log)
    sizes = {each.file: compiled.files[each.file].bytes for each in compiled.compiled.values()}
    large = [
        Judgement("max_bytes", max_bytes, size, False, file)
        for file, size in sizes.items()
        if max_bytes is not None and size > max_bytes
    ]
    return msgspec.structs.replace(result, manifest=compiled, verdict=Verdict((*result.verdict.judgements, *large)))
