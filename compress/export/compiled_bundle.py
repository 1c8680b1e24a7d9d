"""Adds compiled models to a finished bundle, and signs it again.

The models that were judged stay as they are, and so do the golden outputs, with which the device compares the compiled
ones. Only the goal `max_bytes` is judged again: it holds for each model file.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.runtime.bundle import archive
from vedette.runtime.bundle.binary_formats import ModelFileError
from vedette.runtime.bundle.bundle import MANIFEST, SIGNATURE
from vedette.runtime.bundle.compiled_model import CompiledModel, check_compiled_file
from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.errors import MachineProblem
from vedette.runtime.progress import Log

from .bundle_writer import sign_bundle, write_output
from .compilers import Compiler, CompilerInput

_MAX_TENSOR_BYTES = 4 << 30


def add_compiled_models(
    path: Path,
    given: CompilerInput,
    compilers: Mapping[str, Compiler],
    key: Ed25519PrivateKey,
    max_bytes: int | None,
    log: Log,
) -> Manifest:
    """Compile the models of the bundle at `path` and write it anew, complete or not at all.

    Args:
        path: the bundle, as the build has just written it
        given: what the compilers read
        compilers: by back end
        key: signs the bundle
        max_bytes: the goal; None: no limit
        log: receives a line for each compiler

    Returns:
        The new manifest.

    Raises:
        MachineProblem: a compiler fails, or its file is not one for the accelerator; the bundle stays as it was.
    """
    members = archive.unpack_archive(path)
    del members[MANIFEST], members[SIGNATURE]
    compiled, missed = {}, list(given.manifest.missed)
    for name, compiler in compilers.items():
        log(f"compiling for {compiler.target} with {compiler.tool}")
        with tempfile.TemporaryDirectory(prefix="vedette-compiler-") as folder:
            content, source = compiler.compile(given, Path(folder))
        try:
            check_compiled_file(name, content, _MAX_TENSOR_BYTES)
        except ModelFileError as error:
            raise MachineProblem(f"what {compiler.tool} made cannot be used: {error}", "leave --for out") from None
        member = f"model-{name}.{compiler.ending}"
        members[member] = content
        digest = hashlib.sha256(source).hexdigest()
        compiled[name] = CompiledModel(file=member, target=compiler.target, tool=compiler.tool, source=digest)
        if max_bytes is not None and len(content) > max_bytes:
            missed.append(f"max_bytes: {member} has {len(content)}, the goal is at most {max_bytes}")
    manifest = msgspec.structs.replace(
        given.manifest, compiled=compiled, missed=tuple(missed), goal_met=given.manifest.goal_met and not missed
    )
    manifest, content = sign_bundle(manifest, members, key)
    write_output(path, content)
    return manifest
