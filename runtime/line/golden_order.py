"""A signed order about reference parts: what a message must bring to change the lock of a line.

The order names the challenge that the box gave last, so nobody who recorded an order can send it again, and neither
side needs the right time. An order that somebody withholds holds until its challenge is used, or five minutes old.
"""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from ..bundle.keys import Keyring
from ..bundle.signed_order import OrderRefused, Pattern, check_place, open_signed, sign_text
from ..errors import UNREADABLE
from .golden_messages import GoldenCommand

DOMAIN = b"vedette golden part order v1\n"
MAX_ORDER_BYTES = 2048
CHALLENGE_SECONDS = 300.0


class GoldenOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text of an order."""

    challenge: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    """That of the newest answer of this camera's daemon."""
    to: Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=1)]
    """The box: SITE/AREA/LINE/NAME."""
    camera: str
    action: Literal["begin", "acknowledge"]
    by: Annotated[str, Meta(min_length=1)]
    """Who orders it."""


class Challenge:
    """What the next order must name: once, and for a while. Not thread-safe."""

    def __init__(self) -> None:
        self.text, self.made = "", 0.0

    def show(self) -> str:
        """The one that holds now. It stays until it is used or too old, so nobody can spoil it by asking."""
        if not self.text or time.monotonic() - self.made > CHALLENGE_SECONDS:
            self.text, self.made = secrets.token_hex(16), time.monotonic()
        return self.text

    def use(self, text: str) -> bool:
        """Whether an order names the one that holds, which then does no more."""
        if not secrets.compare_digest(self.show(), text):
            return False
        self.text = ""
        return True


def sign_golden_order(order: GoldenOrder, key: Ed25519PrivateKey) -> bytes:
    """The payload of `cmd/golden-part`."""
    return sign_text(msgspec.json.encode(order), key, DOMAIN)


def open_golden_order(payload: bytes, keyring: Keyring, place: str) -> tuple[GoldenOrder, GoldenCommand, str]:
    """The order in a payload, its command, and the ID of the key that signed it. The challenge is not checked.

    Args:
        payload: of `cmd/golden-part`
        keyring: trusted keys
        place: SITE/AREA/LINE/NAME of the box

    Raises:
        OrderRefused: it is malformed, not signed by a trusted key, or for another box.
    """
    signer, text = open_signed(payload, keyring, DOMAIN, MAX_ORDER_BYTES)
    if signer in keyring.rules and keyring.rules[signer].products:
        raise OrderRefused(f"the key {signer} is limited to products, and a lock holds for all of a line")
    try:
        order = msgspec.json.decode(text, type=GoldenOrder)
        command = GoldenCommand(order.action, order.by, order.camera)
    except UNREADABLE as error:
        raise OrderRefused(f"not an order about reference parts: {str(error)[:200]}") from None
    check_place(order.to, place)
    return order, command, signer
