"""A signed order that changes a camera's file on many boxes: a part of such a file, or the way back.

    {"order": "<JSON text>", "key": "<ID of the key>", "signature": "<Base64>"}

as an order to install (orders/order.py), but the signature covers other bytes before the text, and it comes to
`cmd/configure`: neither kind of order can be taken for the other.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated, Any, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from ...bundle.keys import Keyring
from ...bundle.signed_order import MAX_SIGNED_BYTES, OrderRefused, Pattern, check_place, open_signed, sign_text
from ...config.configuration import Name
from ...errors import UNREADABLE, BundleProblem, ConfigProblem
from ..orders.order import MAX_PATTERNS, Nonce, Second
from .change_requests import MAX_BYTES

DOMAIN = b"vedette configuration order v1\n"
COMMAND = "configure"
"""Last level of the topic."""


class ConfigurationOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a camera of a box shall change."""

    nonce: Nonce
    action: Literal["configure", "rollback"]
    """`rollback` takes back what the order `undo` changed; a camera whose file differs by now stays as it is."""
    to: Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=MAX_PATTERNS)]
    """Boxes: SITE/AREA/LINE/NAME, in which `*` stands for any name of its level."""
    camera: Annotated[Name, Meta(max_length=200)]
    issued: Second
    expires: Second
    part: Annotated[str, Meta(max_length=MAX_BYTES)] = ""
    """TOML: tables and keys that replace those of the camera's file."""
    undo: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")] = ""

    def shorten(self) -> ConfigurationOrder:
        """The order with the digest of its part in place of the part."""
        return msgspec.structs.replace(self, part=hashlib.sha256(self.part.encode()).hexdigest())


def make_configuration_order(action: str, to: tuple[str, ...], camera: str, **fields: Any) -> ConfigurationOrder:
    """Makes an order with a new nonce, if `fields` has none.

    Raises:
        ConfigProblem: a value is out of its bounds.
    """
    values = {"nonce": secrets.token_hex(16), "action": action, "to": to, "camera": camera}
    try:
        return msgspec.convert(values | fields, ConfigurationOrder)
    except msgspec.ValidationError as error:
        raise ConfigProblem(f"not an order: {error}", hint="docs/fleet.md lists the fields") from None


def sign_configuration_order(order: ConfigurationOrder, key: Ed25519PrivateKey) -> bytes:
    """The payload of `cmd/configure`."""
    return sign_text(msgspec.json.encode(order), key, DOMAIN)


def open_configuration_order(
    payload: bytes, keyring: Keyring, place: str, product: str
) -> tuple[ConfigurationOrder, str]:
    """The order in a payload, if a trusted key signed it for this box, and the ID of the key. Its age is not checked.

    Args:
        payload: of `cmd/configure`
        keyring: trusted keys of the box
        place: SITE/AREA/LINE/NAME of the box
        product: that the camera runs; a key that is limited to products must be one of this

    Raises:
        OrderRefused: it is malformed, not signed by a trusted key, or for other boxes.
    """
    signer, text = open_signed(payload, keyring, DOMAIN, MAX_SIGNED_BYTES)
    try:
        order = msgspec.json.decode(text, type=ConfigurationOrder)
    except UNREADABLE as error:
        raise OrderRefused(f"not an order: {str(error)[:200]}") from None
    check_place(order.to, place)
    check_signer(keyring, signer, product)
    if bool(order.part) != (order.action == "configure") or bool(order.undo) != (order.action == "rollback"):
        raise OrderRefused("a change needs a part, and a rollback the order that it takes back")
    return order, signer


def check_signer(keyring: Keyring, signer: str, product: str) -> None:
    """Raises OrderRefused if a key is limited to other products."""
    try:
        keyring.check_product(signer, product)
    except BundleProblem as problem:
        raise OrderRefused(problem.message) from None
