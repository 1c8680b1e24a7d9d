"""Ed25519 keys: who may say what a device runs.

A workshop signs with `NAME.key`; a device trusts the `NAME.pub` files of one folder, its keyring. Both are PEM, as
every other tool reads them. A key is known by its id, the first 16 hexadecimal digits of the SHA-256 of its 32 public
bytes.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ..errors import BundleProblem, ConfigProblem

SYSTEM_KEYRING = Path("/etc/vedette/keys")


def own_keyring() -> Path:
    """The folder of this user's keys: `$XDG_CONFIG_HOME/vedette/keys`."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "vedette" / "keys"


class Keyring:
    """The public keys that are trusted here."""

    def __init__(self, keys: dict[str, Ed25519PublicKey], folders: tuple[Path, ...] = ()) -> None:
        self.keys = keys
        self.folders = folders

    @classmethod
    def read(cls, folder: Path | None = None) -> Keyring:
        """Every `*.pub` of `folder`; of the system's keyring and this user's where none is named.

        Raises:
            ConfigProblem: a named folder is not there or closed to us, or a file in it is not an Ed25519 public key.
        """
        if folder is not None and not _entered(folder):
            hint = "it should hold the signer's NAME.pub, and this user may read it"
            raise ConfigProblem(f"{folder}: no such folder of trusted keys", hint=hint)
        folders = (folder,) if folder is not None else (SYSTEM_KEYRING, own_keyring())
        keys = {}
        for path in (path for each in folders if _entered(each) for path in sorted(each.glob("*.pub"))):
            public = read_public(path)
            keys[key_id(public)] = public
        return cls(keys, folders)

    def check(self, signer: str, message: bytes, signature: bytes) -> None:
        """Returns if the key `signer` is trusted and signed `message`.

        Raises:
            BundleProblem: it is not, or did not.
        """
        if signer not in self.keys:
            places = " or ".join(map(str, self.folders)) or "the keyring"
            raise BundleProblem(f"signed by the unknown key {signer}", hint=f"put that key's .pub file in {places}")
        try:
            self.keys[signer].verify(signature, message)
        except InvalidSignature:
            raise BundleProblem("the signature does not match the manifest", hint="fetch the bundle again") from None


def _entered(folder: Path) -> bool:
    """Whether it is a folder that we may look into; under systemd homes are closed."""
    try:
        return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
    except PermissionError:
        return False


def key_id(public: Ed25519PublicKey) -> str:
    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def generate(folder: Path, name: str = "vedette") -> tuple[Path, Path]:
    """Makes `NAME.key` (readable by its owner only) and `NAME.pub` in `folder`.

    Raises:
        ConfigProblem: one of the files exists; a key is never overwritten.
    """
    if not name or Path(name).name != name:
        raise ConfigProblem(f"{name!r} is no name for a key", hint="give a file name without a suffix")
    private_path, public_path = folder / f"{name}.key", folder / f"{name}.pub"
    for path in (private_path, public_path):
        if path.exists():
            raise ConfigProblem(f"{path} exists, and a key is never overwritten", hint="choose another folder")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(private_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(private)
        public_path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    except OSError as error:
        raise ConfigProblem(f"{private_path}: {error.strerror}", hint="choose another folder") from None
    return private_path, public_path


def read_private(path: Path) -> Ed25519PrivateKey:
    """The key in a PEM file.

    Raises:
        ConfigProblem: there is none, or not an Ed25519 one.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigProblem(f"{path}: not a private key ({error})", hint="make one with vedette keygen DIR") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigProblem(f"{path}: not an Ed25519 key", hint="make one with vedette keygen DIR")
    return key


def read_public(path: Path) -> Ed25519PublicKey:
    """The public key in a PEM file.

    Raises:
        ConfigProblem: there is none, or not an Ed25519 one.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigProblem(f"{path}: not a public key ({error})", hint="copy the signer's .pub file again") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigProblem(f"{path}: not an Ed25519 key", hint="copy the signer's .pub file again")
    return key
