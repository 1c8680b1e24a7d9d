"""A bundle that was verified: that a `Bundle` exists is the proof.

Bytes become trust in this order, and each step looks only at what the ones before it vouch for: the container's form,
the signature over the manifest's exact bytes by a trusted key, the manifest's meaning, and every member's size and
digest, with none missing and none extra. Only then does anything parse a model.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import BundleProblem, written_in
from . import archive
from .keys import Keyring
from .manifest import FORMAT, Manifest

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
GOLDEN = "golden"


class Bundle:
    """A verified manifest and the verified bytes of its members."""

    def __init__(self, path: Path, manifest: Manifest, members: dict[str, bytes]) -> None:
        self.path = path
        self.manifest = manifest
        self.members = members

    @classmethod
    def open(cls, path: Path, keyring: Keyring) -> Bundle:
        """Reads and verifies the bundle at `path`.

        Raises:
            BundleProblem: it is not what its signer signed, its signer is not trusted, or its format is not ours.
        """
        members = archive.unpack(path)
        hint = "fetch the bundle again, or build it again"
        try:
            text, signature = members.pop(MANIFEST), members.pop(SIGNATURE)
        except KeyError as missing:
            raise BundleProblem(f"{path}: no {missing.args[0]} inside", hint=hint) from None
        with written_in(path, BundleProblem):
            keyring.check(_signer(text), text, signature)
            manifest = _manifest(text)
        if set(members) != set(manifest.files):
            odd = ", ".join(sorted(set(members) ^ set(manifest.files)))
            raise BundleProblem(f"{path}: members and manifest disagree about {odd}", hint=hint)
        for name, member in manifest.files.items():
            content = members[name]
            if len(content) != member.bytes or hashlib.sha256(content).hexdigest() != member.sha256:
                raise BundleProblem(f"{path}: {name} is not the file that was signed", hint=hint)
        return cls(path, manifest, members)

    def model(self, backend: str) -> bytes:
        return self.members[self.manifest.models[backend]]

    def golden(self, name: str) -> NDArray[Any]:
        """Golden input (`image`: N x H x W x 3, u8) or output (N x …, u8) that a right back end reproduces."""
        content = self.members[f"{GOLDEN}/{name}.npy"]
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
        return array


def _signer(text: bytes) -> str:
    """Which key the manifest says it is signed by: nothing else of it is looked at before the signature is checked."""

    class Claim(msgspec.Struct):
        signer: str

    try:
        return msgspec.json.decode(text, type=Claim).signer
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BundleProblem("the manifest names no signer", hint="build the bundle again") from None


def _manifest(text: bytes) -> Manifest:
    try:
        found = msgspec.json.decode(text, type=dict[str, Any]).get("format")
        if found != FORMAT:
            raise BundleProblem(
                f"bundle format {found}, and this runtime reads {FORMAT}",
                hint="upgrade vedette on this machine",
            )
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleProblem(f"manifest.json: {error}", hint="build the bundle again") from None
