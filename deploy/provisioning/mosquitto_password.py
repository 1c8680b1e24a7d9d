"""Passwords, and their lines in mosquitto's password file: `NAME:$7$ITERATIONS$SALT$HASH` (PBKDF2, SHA-512)."""

from __future__ import annotations

import base64
import hashlib
import secrets

# As mosquitto_passwd: a password that is guessed would need more, a random one of 144 bits does not.
ITERATIONS = 101
_PASSWORD_BYTES = 18
_SALT_BYTES = 12
_HASH_BYTES = 64


def make_password() -> str:
    """A random password of 24 characters."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def hash_password(password: str, salt: bytes | None = None) -> str:
    """The part behind the colon in mosquitto's password file.

    Args:
        password: the password
        salt: 12 bytes; None: random ones
    """
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS, _HASH_BYTES)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
