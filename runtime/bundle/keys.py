"""Ed25519 keys: a device runs only bundles that a trusted key has signed.

The workshop signs with `NAME.key`; a device trusts the `NAME.pub` files of its keyring, a folder. Both are PEM files.
The ID of a key is the first 16 hexadecimal digits of the SHA-256 of its 32 public bytes. A key can be limited to
products, and revoked (key_rules.py).
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import msgspec
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

from ..config.credential_warnings import describe_open_file
from ..errors import BundleProblem, ConfigProblem
from .key_rules import Revocation, check_product, read_products, read_revocations

log = logging.getLogger(__name__)

SYSTEM_KEYRING = Path("/etc/vedette/keys")


def user_keyring() -> Path:
    """The keyring folder of the current user: `$XDG_CONFIG_HOME/vedette/keys`."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "vedette" / "keys"


class UnknownSigner(BundleProblem):
    """No trusted key has signed; `signer` is the ID of the key that did."""

    def __init__(self, message: str, hint: str = "", signer: str = "") -> None:
        super().__init__(message, hint)
        self.signer = signer


class KeyRule(msgspec.Struct, frozen=True):
    """Where a trusted key comes from, and what it may sign."""

    file: Path
    products: tuple[str, ...]
    """Names of products; empty: all."""


class Keyring:
    """The trusted public keys, by key ID.

    Args:
        keys: the keys
        folders: where they were read, for messages
        rules: what each may sign; a key without an entry is not limited
        revoked: keys that are not trusted whatever `keys` holds
        unreadable: folders and files of keys that this user may not read
    """

    def __init__(
        self,
        keys: dict[str, Ed25519PublicKey],
        folders: tuple[Path, ...] = (),
        rules: dict[str, KeyRule] | None = None,
        revoked: dict[str, Revocation] | None = None,
        unreadable: tuple[Path, ...] = (),
    ) -> None:
        self.keys, self.folders, self.rules, self.revoked = keys, folders, rules or {}, revoked or {}
        self.unreadable = unreadable

    @classmethod
    def read(cls, folder: Path | None = None) -> Keyring:
        """Reads every `*.pub` file of `folder`. None: of the system keyring and the user keyring.

        Raises:
            ConfigProblem: `folder` does not exist or is not readable, or a file in it is not an Ed25519 public key.
        """
        if folder is not None and is_forbidden(folder):
            raise ConfigProblem(f"{folder}: this user may not read the trusted keys", hint=_permission_hint(folder))
        if folder is not None and not _is_readable_folder(folder):
            hint = "the folder must contain the signer's NAME.pub and be readable by this user"
            raise ConfigProblem(f"{folder}: no such folder of trusted keys", hint=hint)
        folders = (folder,) if folder is not None else (SYSTEM_KEYRING, user_keyring())
        keys: dict[str, Ed25519PublicKey] = {}
        rules: dict[str, KeyRule] = {}
        revoked: dict[str, Revocation] = {}
        readable = list(filter(_is_readable_folder, folders))
        unreadable = [SYSTEM_KEYRING] if folder is None and is_forbidden(SYSTEM_KEYRING) else []
        for path in (path for keyring in readable for path in sorted(keyring.glob("*.pub"))):
            if is_forbidden(path):
                unreadable.append(path)
                continue
            public = read_public_key(path)
            identity = key_id(public)
            keys[identity] = public
            if identity not in rules or not rules[identity].products:  # of two files of one key, the limited one holds
                rules[identity] = KeyRule(path, read_products(path))
        for keyring in {*readable, *filter(_is_readable_folder, [SYSTEM_KEYRING])}:
            revoked |= read_revocations(keyring)
        return cls(keys, folders, rules, revoked, tuple(unreadable))

    def with_signer(self, private: Ed25519PrivateKey) -> Keyring:
        """The same keyring with the key of somebody who signs with it here; a revoked key stays revoked."""
        public = private.public_key()
        return Keyring({**self.keys, key_id(public): public}, self.folders, self.rules, self.revoked, self.unreadable)

    def check_product(self, signer: str, name: str) -> None:
        """Checks that the key with the ID `signer` may sign bundles with this name.

        Raises:
            BundleProblem: it is limited to other products.
        """
        if signer in self.rules:
            check_product(self.rules[signer].products, signer, name)

    def verify(self, signer: str, message: bytes, signature: bytes) -> None:
        """Checks that the key with the ID `signer` is trusted and has signed `message`.

        Raises:
            BundleProblem: the key is revoked or not trusted, or the signature does not match.
        """
        if (revocation := self.revoked.get(signer)) is not None:
            reason = f" ({revocation.reason})" if revocation.reason else ""
            hint = "build it again and sign it with another key"
            raise BundleProblem(f"signed by the key {signer}, which is revoked{reason}", hint=hint)
        if signer not in self.keys and self.unreadable:
            path = self.unreadable[0]
            kind = BundleProblem if path.suffix != ".pub" else ConfigProblem
            reason = f"this user may not read {path}, and {signer}, the signer, is not among the other keys"
            raise kind(reason, hint=_permission_hint(path))
        if signer not in self.keys:
            places = " or ".join(map(str, self.folders)) or "the keyring"
            raise UnknownSigner(f"signed by the unknown key {signer}", f"put that key's .pub file in {places}", signer)
        try:
            self.keys[signer].verify(signature, message)
        except InvalidSignature:
            raise BundleProblem("the signature does not match the manifest", hint="fetch the bundle again") from None


def is_forbidden(path: Path) -> bool:
    """Whether a folder or file of keys is there, or may be, and this user lacks the permission to read it."""
    try:
        if not path.exists():
            return False
        return not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK)
    except PermissionError:
        return True


def _permission_hint(path: Path) -> str:
    return f"public keys are no secret: as root, chmod -R a+rX {path if path.suffix != '.pub' else path.parent}"


def _is_readable_folder(folder: Path) -> bool:
    """False also without permission: under systemd, home folders are not accessible."""
    try:
        return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
    except PermissionError:
        return False


def key_id(public: Ed25519PublicKey) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the key's 32 bytes."""
    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def generate_key_pair(folder: Path, name: str = "vedette") -> tuple[Path, Path]:
    """Generates `NAME.key` (readable by its owner only) and `NAME.pub` in `folder`; returns both paths.

    Raises:
        ConfigProblem: the name is invalid, one of the files exists, or the folder is not writable.
    """
    if not name or Path(name).name != name:
        raise ConfigProblem(f"{name!r} is not a valid key name", hint="give a file name without a suffix")
    private_path, public_path = folder / f"{name}.key", folder / f"{name}.pub"
    for path in (private_path, public_path):
        if path.exists():
            raise ConfigProblem(f"{path} exists; keys are never overwritten", hint="choose another folder")
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


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Reads a private key from a PEM file.

    Raises:
        ConfigProblem: the file cannot be read, or holds no Ed25519 private key.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigProblem(
            f"{path}: not a private key ({error})", hint="generate one with vedette keygen DIR"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigProblem(f"{path}: not an Ed25519 key", hint="generate one with vedette keygen DIR")
    if fault := describe_open_file(path):
        log.warning("the private key %s %s", path, fault)
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Reads a public key from a PEM file.

    Raises:
        ConfigProblem: the file cannot be read, or holds no Ed25519 public key.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint="check the path of the signer's .pub file") from None
    return parse_public_key(content, str(path))


def parse_public_key(content: bytes, name: str) -> Ed25519PublicKey:
    """The public key in the content of a PEM file, which `name` names in messages.

    Raises:
        ConfigProblem: it holds no Ed25519 public key.
    """
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        if b"PRIVATE KEY" in content:
            hint = "the signer keeps it; give the .pub file that lies beside it"
            raise ConfigProblem(f"{name}: a private key, where a public one is wanted", hint=hint) from None
        raise ConfigProblem(f"{name}: not a public key ({error})", hint="copy the signer's .pub file again") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigProblem(f"{name}: not an Ed25519 key", hint="copy the signer's .pub file again")
    return key
