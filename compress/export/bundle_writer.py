"""Writes a bundle: a digest of every file, the signed manifest, and the archive of all members."""

from __future__ import annotations

import hashlib
import io
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.bundle.bundle import GOLDEN_FOLDER, pack_signed_bundle
from vedette.runtime.bundle.manifest import Manifest, MemberDigest
from vedette.runtime.errors import ConfigProblem


def encode_golden_npy_members(arrays: dict[str, NDArray[Any]]) -> dict[str, bytes]:
    """Encode golden inputs and outputs as `.npy` members of a bundle, by member name."""
    members = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        members[f"{GOLDEN_FOLDER}/{name}.npy"] = buffer.getvalue()
    return members


def sign_bundle(manifest: Manifest, members: dict[str, bytes], key: Ed25519PrivateKey) -> tuple[Manifest, bytes]:
    """Add file digests and the signer to the manifest, and sign it.

    Args:
        manifest: complete except for `files` and `signer`
        members: all members except the manifest and its signature, by name
        key: the private key

    Returns:
        The finished manifest and the bytes of the bundle.
    """
    files = {name: MemberDigest(hashlib.sha256(data).hexdigest(), len(data)) for name, data in sorted(members.items())}
    return pack_signed_bundle(msgspec.structs.replace(manifest, files=files), members, key)


def check_output_folder(folder: Path) -> None:
    """Check before the long work that the output folder can be written; does not create it.

    Raises:
        ConfigProblem: the folder, or its nearest existing parent, cannot be written
    """
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError:
        raise ConfigProblem(f"{folder}: {nearest} is no writable folder", hint="choose another --out") from None


def write_output(path: Path, content: bytes) -> None:
    """Write a file of the output folder, complete or not at all.

    Raises:
        MachineProblem: the file cannot be written
    """
    write_atomically(path, content, "free some disk space, or choose another --out")


def write_build(
    out: Path, name: str, float_model: bytes, members: dict[str, bytes], bundle: bytes
) -> tuple[Path, Path]:
    """Write the float model, the report and, last, the bundle; returns the paths of bundle and page."""
    report = {".html": members["report.html"], ".json": members["report.json"]}
    for ending, content in {".float.onnx": float_model, **report, ".vedette": bundle}.items():
        write_output(out / f"{name}{ending}", content)
    return out / f"{name}.vedette", out / f"{name}.html"
