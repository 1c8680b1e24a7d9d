"""Signatures of webhooks as "Standard Webhooks" 1.0 has them (github.com/standard-webhooks/standard-webhooks).

webhook-id           the event's `id`: the same each time that the event is sent
webhook-timestamp    seconds since 1970, of this attempt
webhook-signature    v1,BASE64 of HMAC-SHA256 over ID.TIMESTAMP.BODY; one for each secret, separated by spaces
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from ...config.credentials import read_secret
from ...errors import ConfigProblem

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)  # as the specification has it


def read_signing_keys(path: str, sink: str) -> list[bytes]:
    """Reads the keys from a file with one secret a line; several, so that a secret can be changed without a gap.

    Args:
        path: the file; empty: none
        sink: name of the sink, for the error message

    Raises:
        ConfigProblem: it cannot be read, or a secret has another form.
    """
    setting = f"secret_file of the sink {sink}"
    text = read_secret(path, setting)
    if text is None:
        return []
    keys = []
    for line in filter(None, map(str.strip, text.splitlines())):
        try:
            keys.append(base64.b64decode(line.removeprefix(_PREFIX), validate=True))
        except (binascii.Error, ValueError):
            keys.append(b"")
    if not keys or any(len(key) not in _KEY_BYTES for key in keys):
        hint = 'make one: echo "whsec_$(openssl rand -base64 32)"'
        raise ConfigProblem(f"{setting} {path}: not a secret of 24 to 64 bytes in base64", hint=hint)
    return keys


def sign(keys: Sequence[bytes], identifier: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a webhook; without keys no signature."""
    headers = {"webhook-id": identifier, "webhook-timestamp": str(timestamp)}
    signed = f"{identifier}.{timestamp}.".encode() + body
    digests = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return headers | ({"webhook-signature": " ".join(f"v1,{each}" for each in digests)} if digests else {})
