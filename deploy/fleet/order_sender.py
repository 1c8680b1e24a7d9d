"""Orders of a rollout: signed for one box each, with the nonce that the rollout's file keeps, and pieces of the bundle.

One box, one order: whoever records the order of one box cannot use it at another.
"""

from __future__ import annotations

import secrets
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.runtime.installation.configuration.configuration_order import (
    COMMAND,
    make_configuration_order,
    sign_configuration_order,
)
from vedette.runtime.installation.orders.bundle_pieces import PIECE_BYTES, WINDOW, encode_piece
from vedette.runtime.installation.orders.order import make_order, sign_order

from .rollout_record import BoxRecord, Rollout

LIFE_SECONDS = 3600
"""An order that a box has not got until then holds no more."""


class Connection(Protocol):
    """Publishes commands."""

    def command(self, place: str, name: str, payload: bytes, nonce: str) -> None:
        """Publishes a command to a box."""


class OrderSender:
    """Sends the orders of one rollout.

    Args:
        rollout: the rollout
        connection: publishes them
        key: signs them
        bundle: the bundle; empty: the boxes fetch it elsewhere
    """

    def __init__(self, rollout: Rollout, connection: Connection, key: Ed25519PrivateKey, bundle: bytes = b"") -> None:
        self.rollout, self.connection, self.key, self.bundle = rollout, connection, key, bundle

    def renew(self, record: BoxRecord, now: float, *, is_new: bool) -> None:
        """Gives a box's record a nonce for a new order, or for one that has expired."""
        if is_new or not record.nonce or now > record.expires:
            record.nonce = secrets.token_hex(16)
            record.issued, record.expires = int(now), int(now) + LIFE_SECONDS

    def send(self, place: str, record: BoxRecord, action: str) -> None:
        """Sends the order of a box, for the first time or again."""
        rollout, fields = self.rollout, {}
        if action == "install":
            fields = {"sha256": rollout.sha256, "bytes": rollout.bytes, "source": rollout.source}
            fields |= {"minutes": rollout.minutes, "max_ms": rollout.max_ms, "band": rollout.band}
        dates = {"nonce": record.nonce, "issued": record.issued, "expires": record.expires}
        order = make_order(action, (place,), rollout.product, rollout.release, **dates, **fields)
        self.connection.command(place, "install", sign_order(order, self.key), record.nonce)

    def send_pieces(self, place: str, nonce: str, numbers: tuple[int, ...]) -> None:
        """Sends pieces of the bundle that a box asks for."""
        for number in sorted(set(numbers))[:WINDOW]:
            if data := self.bundle[number * PIECE_BYTES :][:PIECE_BYTES] if number >= 0 else b"":
                self.connection.command(place, "piece", encode_piece(nonce, number, data), nonce)


class ConfigurationSender(OrderSender):
    """Sends the orders of a rollout of a configuration; arguments as of `OrderSender`."""

    def send(self, place: str, record: BoxRecord, action: str) -> None:
        """Sends the order of a box, for the first time or again."""
        dates = {"nonce": record.nonce, "issued": record.issued, "expires": record.expires}
        if action == "install":
            order = make_configuration_order("configure", (place,), record.camera, part=self.rollout.part, **dates)
        else:
            order = make_configuration_order("rollback", (place,), record.camera, undo=record.applied, **dates)
        self.connection.command(place, COMMAND, sign_configuration_order(order, self.key), record.nonce)


def make_sender(rollout: Rollout, connection: Connection, key: Ed25519PrivateKey, bundle: bytes) -> OrderSender:
    """The sender of a rollout, of a release or a configuration."""
    kind = ConfigurationSender if rollout.part else OrderSender
    return kind(rollout, connection, key, bundle)
