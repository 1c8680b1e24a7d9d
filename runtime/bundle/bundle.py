"""Opens and verifies a bundle, and signs one; every `Bundle` object is verified.

Each step reads only what the steps before it have verified:

1. the form of the archive
2. the signature of a trusted key over the exact bytes of the manifest
3. the content of the manifest
4. size and digest of every member, with no member missing and none added
5. the sense of the manifest's values, and the form of the golden members

Models are parsed only after that.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from ..errors import UNREADABLE, BundleProblem, locate_errors
from . import archive
from .keys import Keyring, key_id
from .manifest import FORMAT_VERSION, Manifest, encode_manifest
from .manifest_checks import check_manifest
from .model_files import model_member

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
GOLDEN_FOLDER = "golden"


class Bundle:
    """A verified manifest and the verified bytes of its members."""

    def __init__(self, path: Path, manifest: Manifest, members: dict[str, bytes], manifest_sha256: str) -> None:
        self.path = path
        self.manifest = manifest
        self.members = members
        self.manifest_sha256 = manifest_sha256

    @classmethod
    def open(cls, path: Path, keyring: Keyring) -> Bundle:
        """Reads and verifies the bundle at `path`.

        Raises:
            BundleProblem: the bundle was altered, its signer is not trusted, or its format is not supported.
        """
        members = archive.unpack_archive(path)
        hint = "fetch the bundle again, or build it again"
        try:
            text, signature = members.pop(MANIFEST), members.pop(SIGNATURE)
        except KeyError as missing:
            raise BundleProblem(f"{path}: {missing.args[0]} is missing", hint=hint) from None
        with locate_errors(path, BundleProblem):
            signer = _decode_signer(text)
            keyring.verify(signer, text, signature)
            manifest = _decode_manifest(text)
            keyring.check_product(signer, manifest.name)
        if set(members) != set(manifest.files):
            difference = ", ".join(sorted(set(members) ^ set(manifest.files)))
            raise BundleProblem(f"{path}: the manifest does not match the members: {difference}", hint=hint)
        for name, member in manifest.files.items():
            content = members[name]
            if len(content) != member.bytes or hashlib.sha256(content).hexdigest() != member.sha256:
                raise BundleProblem(f"{path}: {name} differs from the signed file", hint=hint)
        with locate_errors(path, BundleProblem):
            check_manifest(manifest, members)
        return cls(path, manifest, members, hashlib.sha256(text).hexdigest())

    def model(self, backend: str) -> bytes:
        """The model file that `backend` runs."""
        member = model_member(self.manifest, backend)
        assert member is not None  # test_models has said it
        return self.members[member]

    def golden(self, name: str) -> NDArray[Any]:
        """Golden input (`image`: N x H x W x 3, uint8) or golden output (N x …, uint8) that each back end must
        reproduce.
        """
        content = self.members[f"{GOLDEN_FOLDER}/{name}.npy"]
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
        return array


def pack_signed_bundle(manifest: Manifest, members: dict[str, bytes], key: Ed25519PrivateKey) -> tuple[Manifest, bytes]:
    """Signs a manifest and packs the bundle.

    Args:
        manifest: complete except for `signer`
        members: all members except the manifest and its signature, by name
        key: the private key

    Returns:
        The finished manifest and the bytes of the bundle.
    """
    manifest = msgspec.structs.replace(manifest, signer=key_id(key.public_key()))
    text = encode_manifest(manifest)
    return manifest, archive.pack_archive(members | {MANIFEST: text, SIGNATURE: key.sign(text)})


def _decode_signer(text: bytes) -> str:
    """The signer's key ID: the only field of the manifest that is read before the signature is verified."""

    class SignerField(msgspec.Struct):
        signer: str

    try:
        return msgspec.json.decode(text, type=SignerField).signer
    except UNREADABLE:
        raise BundleProblem("the manifest has no signer", hint="build the bundle again") from None


def _decode_manifest(text: bytes) -> Manifest:
    try:
        found = msgspec.json.decode(text, type=dict[str, Any]).get("format")
        if found != FORMAT_VERSION:
            raise BundleProblem(
                f"bundle format {found}; this runtime supports format {FORMAT_VERSION}",
                hint="upgrade vedette on this machine",
            )
        return msgspec.json.decode(text, type=Manifest)
    except UNREADABLE as error:
        raise BundleProblem(f"manifest.json: {error}", hint="build the bundle again") from None
