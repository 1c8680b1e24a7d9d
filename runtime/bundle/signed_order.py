"""A signed order: a text that a device obeys because a trusted key signed it.

    {"order": "<JSON text>", "key": "<ID of the key>", "signature": "<Base64>"}

The Ed25519 signature covers a domain, which says what kind of order it is, and the bytes of the JSON text. A manifest
of a bundle begins with other bytes than any domain, so no signature stands for another one.
"""

from __future__ import annotations

import base64
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from ..errors import UNREADABLE, BundleProblem, Problem
from .keys import Keyring, key_id

MAX_SIGNED_BYTES = 96 << 10
"""Of the text of any kind of order."""
ANY = "*"
_LEVEL = r"([A-Za-z0-9_-][A-Za-z0-9_.-]*|\*)"

Pattern = Annotated[str, Meta(max_length=300, pattern=rf"^{_LEVEL}(/{_LEVEL}){{3}}\Z")]


class OrderRefused(Problem):
    """A box does not take an order: it is malformed, not trusted, for another box, too old, or known."""


class SignedOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of any signed order."""

    order: Annotated[str, Meta(max_length=MAX_SIGNED_BYTES)]
    key: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    signature: Annotated[str, Meta(max_length=100)]


def sign_text(text: bytes, key: Ed25519PrivateKey, domain: bytes) -> bytes:
    """A payload that `open_signed` opens."""
    signature = base64.b64encode(key.sign(domain + text)).decode()
    return msgspec.json.encode(SignedOrder(text.decode(), key_id(key.public_key()), signature))


def open_signed(payload: bytes, keyring: Keyring, domain: bytes, most: int) -> tuple[str, bytes]:
    """The ID of the key that signed a payload, and the text that it signed.

    Args:
        payload: `{"order": TEXT, "key": ID, "signature": BASE64}`
        keyring: trusted keys of the box
        domain: what the signature covers before the text
        most: bytes of the text

    Raises:
        OrderRefused: it is malformed, or not signed by a trusted key.
    """
    if len(payload) > 2 * most:
        raise OrderRefused(f"{len(payload)} bytes exceed the limit of {2 * most}")
    try:
        signed = msgspec.json.decode(payload, type=SignedOrder)
        text, signature = signed.order.encode(), base64.b64decode(signed.signature, validate=True)
    except UNREADABLE as error:
        raise OrderRefused(f"not a signed order: {str(error)[:200]}") from None
    if len(text) > most:
        raise OrderRefused(f"{len(text)} bytes exceed the limit of {most}")
    try:
        keyring.verify(signed.key, domain + text, signature)
    except BundleProblem as problem:
        raise OrderRefused(problem.message.replace("the manifest", "the order")) from None
    return signed.key, text


def check_place(to: tuple[str, ...], place: str) -> None:
    """Raises OrderRefused if none of the patterns of an order names this box."""
    if not any(matches(pattern, place) for pattern in to):
        raise OrderRefused(f"for {', '.join(to)[:200]}, not for {place}")


def matches(pattern: str, place: str) -> bool:
    """Whether a pattern names a box; both are SITE/AREA/LINE/NAME."""
    wanted, levels = pattern.split("/"), place.split("/")
    return len(wanted) == len(levels) and all(each in (ANY, level) for each, level in zip(wanted, levels, strict=True))
