"""The password of the page, as a hash that tells nobody the password.

scrypt with N = 2**14, r = 8, p = 5, which is one of the settings of OWASP's Password Storage Cheat Sheet: 16 MiB of
memory, so that a box of 1 GB can afford it, and about 0.2 s on one x86 core, so that guessing is slow.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

import msgspec

from ..errors import UNREADABLE, ConfigProblem

_COST, _BLOCK, _PARALLEL, _SALT_BYTES, _HASH_BYTES = 1 << 14, 8, 5, 16, 32
_MAX_MEMORY = 64 << 20
MIN_PASSWORD = 10
"""Characters of a password."""
MAX_PASSWORD = 1000
MIN_TOKEN = 32
"""Characters of a token."""


class PasswordHash(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Salt and hash of a password, with the settings of scrypt."""

    salt: bytes
    hash: bytes
    n: int = _COST
    r: int = _BLOCK
    p: int = _PARALLEL

    def matches(self, password: str) -> bool:
        """Whether this is the password; it takes as long for a wrong one."""
        if len(password) > MAX_PASSWORD:
            return False
        return hmac.compare_digest(_derive(password, self.salt, self.n, self.r, self.p), self.hash)

    def encode(self) -> str:
        """One line: `scrypt$N$r$p$salt$hash`, the last two in Base64."""
        salt, digest = (base64.b64encode(each).decode() for each in (self.salt, self.hash))
        return f"scrypt${self.n}${self.r}${self.p}${salt}${digest}"


def hash_password(password: str) -> PasswordHash:
    """The hash of a new password.

    Raises:
        ConfigProblem: it is too short or too long.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        hint = "three words that do not belong together are easy to remember and hard to guess"
        raise ConfigProblem(f"the password has {len(password)} characters and needs {MIN_PASSWORD} or more", hint=hint)
    salt = os.urandom(_SALT_BYTES)
    return PasswordHash(salt, _derive(password, salt, _COST, _BLOCK, _PARALLEL))


def decode_hash(text: str, path: str) -> PasswordHash:
    """The hash in a line that `PasswordHash.encode` wrote.

    Raises:
        ConfigProblem: it is not such a line, or its settings are out of bounds.
    """
    try:
        kind, n, r, p, salt, digest = text.strip().split("$")
        found = PasswordHash(
            base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True), *map(int, (n, r, p))
        )
    except UNREADABLE:
        found, kind = None, ""
    is_usable = found is not None and len(found.salt) >= 8 and len(found.hash) == _HASH_BYTES
    if found is None or kind != "scrypt" or not is_usable or not _is_affordable(found):
        raise ConfigProblem(f"{path}: not a password of the page", hint="run vedette page password, which writes it")
    return found


def _is_affordable(found: PasswordHash) -> bool:
    """Settings of at least today's strength that fit into the memory."""
    is_power = found.n & (found.n - 1) == 0
    return (
        is_power and found.n >= _COST and found.r >= 8 and 1 <= found.p <= 16 and 128 * found.n * found.r < _MAX_MEMORY
    )


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY + (32 << 20), dklen=_HASH_BYTES
    )
