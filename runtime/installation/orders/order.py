"""A signed order: what a box shall install or leave, for whom it is, and until when it holds.

Its form is that of bundle/signed_order.py. The key must be in the box's keyring: trusted for the product, and not
revoked.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from ...bundle.archive import MAX_BYTES
from ...bundle.keys import Keyring
from ...bundle.manifest_checks import MAX_RELEASE
from ...bundle.signed_order import OrderRefused, Pattern, check_place, open_signed, sign_text
from ...config.configuration import Name
from ...errors import UNREADABLE, BundleProblem, ConfigProblem

DOMAIN = b"vedette order v1\n"
MAX_ORDER_BYTES = 8 << 10
MAX_PATTERNS = 16
MAX_LIFE_SECONDS = 30 * 86400
MAX_CLOCK_ERROR_SECONDS = 3600
"""An order that a box with a synchronized clock takes may be issued so far in its future."""

Nonce = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Second = Annotated[int, Meta(ge=1, le=1 << 40)]


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a box shall do."""

    nonce: Nonce
    """Unique to the order: a box obeys each once."""
    action: Literal["install", "rollback"]
    """`rollback` goes back from `release` to the one before; a box that does not run `release` stays as it is."""
    to: Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=MAX_PATTERNS)]
    """Boxes: SITE/AREA/LINE/NAME, in which `*` stands for any name of its level."""
    product: Annotated[Name, Meta(max_length=200)]
    release: Annotated[int, Meta(ge=1, le=MAX_RELEASE)]
    issued: Second
    """Seconds since 1970, UTC."""
    expires: Second
    sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    """Digest of the bundle."""
    bytes: Annotated[int, Meta(ge=0, le=MAX_BYTES)] = 0
    """Size of the bundle."""
    source: Annotated[str, Meta(max_length=2000, pattern=r"^(https://[!-~]+|mqtt|)\Z")] = ""
    """Where the bundle is: a URL, or `mqtt`: the box asks for it in pieces."""
    minutes: Annotated[float, Meta(ge=0, le=10_000)] = 10.0
    """Probation of the release; 0: none."""
    max_ms: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    band: Annotated[float, Meta(gt=0, lt=1)] = 0.05


def make_order(action: str, to: tuple[str, ...], product: str, release: int, **fields: Any) -> Order:
    """Makes an order with a new nonce, if `fields` has none.

    Raises:
        ConfigProblem: a value is out of its bounds.
    """
    values = {"nonce": secrets.token_hex(16), "action": action, "to": to, "product": product, "release": release}
    try:
        return msgspec.convert(values | fields, Order)
    except msgspec.ValidationError as error:
        raise ConfigProblem(f"not an order: {error}", hint="docs/fleet.md lists the fields") from None


def sign_order(order: Order, key: Ed25519PrivateKey) -> bytes:
    """The payload of `cmd/install`."""
    return sign_text(msgspec.json.encode(order), key, DOMAIN)


def open_order(payload: bytes, keyring: Keyring, place: str) -> Order:
    """The order in a payload, if a trusted key signed it for this box. Its age is not checked.

    Args:
        payload: of `cmd/install`
        keyring: trusted keys of the box
        place: SITE/AREA/LINE/NAME of the box

    Raises:
        OrderRefused: it is malformed, not signed by a trusted key, or for other boxes.
    """
    signer, text = open_signed(payload, keyring, DOMAIN, MAX_ORDER_BYTES)
    try:
        order = msgspec.json.decode(text, type=Order)
        keyring.check_product(signer, order.product)
    except UNREADABLE as error:
        raise OrderRefused(f"not an order: {str(error)[:200]}") from None
    except BundleProblem as problem:
        raise OrderRefused(problem.message) from None
    check_place(order.to, place)
    if order.action == "install" and not (order.sha256 and order.bytes and order.source):
        raise OrderRefused("an installation needs sha256, bytes and source")
    return order


class Dated(Protocol):
    """What has a time of issue and an end: seconds since 1970."""

    @property
    def issued(self) -> int:
        """When it was made."""

    @property
    def expires(self) -> int:
        """Until when it holds."""


def check_age(order: Dated, now: float | None) -> None:
    """Checks that an order holds now.

    Args:
        order: the order
        now: seconds since 1970 by a clock that is synchronized; None: there is none, and only its life is checked

    Raises:
        OrderRefused: it has expired, holds for too long, or comes from the future.
    """
    if not 0 < order.expires - order.issued <= MAX_LIFE_SECONDS:
        raise OrderRefused(f"it must expire within {MAX_LIFE_SECONDS // 86400} days of its issue")
    if now is None:
        return
    if now > order.expires:
        raise OrderRefused(f"it expired {now - order.expires:.0f} s ago")
    if order.issued > now + MAX_CLOCK_ERROR_SECONDS:
        raise OrderRefused("it is issued in the future: one of the two clocks is wrong")
