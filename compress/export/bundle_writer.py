"""The bundle's last step: every file digested, the manifest signed, all of it in one archive."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from vedette.runtime.bundle import archive
from vedette.runtime.bundle import manifest as manifests
from vedette.runtime.bundle.bundle import GOLDEN, MANIFEST, SIGNATURE
from vedette.runtime.bundle.keys import key_id
from vedette.runtime.bundle.manifest import Manifest, Member
from vedette.runtime.errors import ConfigProblem, MachineProblem


def golden(arrays: dict[str, NDArray[Any]]) -> dict[str, bytes]:
    """Golden inputs and outputs as members of the bundle."""
    members = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        members[f"{GOLDEN}/{name}.npy"] = buffer.getvalue()
    return members


def sign(manifest: Manifest, members: dict[str, bytes], key: Ed25519PrivateKey) -> tuple[Manifest, bytes]:
    """The finished manifest and the bundle's bytes."""
    files = {name: Member(hashlib.sha256(data).hexdigest(), len(data)) for name, data in sorted(members.items())}
    manifest = msgspec.structs.replace(manifest, signer=key_id(key.public_key()), files=files)
    text = manifests.encode(manifest)
    return manifest, archive.pack(members | {MANIFEST: text, SIGNATURE: key.sign(text)})


def check(folder: Path) -> None:
    """Says before the long work whether `folder` can be written, without making it.

    Raises:
        ConfigProblem: it cannot.
    """
    nearest = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError:
        problem = f"{folder}: {nearest} is no folder that can be written"
        raise ConfigProblem(problem, hint="choose another --out") from None


def write(path: Path, data: bytes) -> None:
    """All of the file or nothing: it appears under its name when it is complete and on the disk.

    Raises:
        MachineProblem: it cannot be written.
    """
    half = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with half.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise MachineProblem(f"{path}: {error.strerror}", hint="make room, or choose another --out") from None
