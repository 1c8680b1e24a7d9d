"""Where events go, chosen by the scheme of a URL."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ...config.configuration import Broker
from ...plugins import choose, split_url

SINKS = {"mqtt": ".mqtt:Mqtt", "mqtts": ".mqtt:Mqtt", "stdout": ".stdout:Stdout"}


class Message(msgspec.Struct, frozen=True):
    """Bytes for a topic."""

    topic: str
    payload: bytes
    retain: bool = False
    content_type: str = "text/plain"
    sequence: int | None = None
    """The outbox row that a receipt settles; None for what needs no receipt."""
    correlation: bytes = b""
    """Of the order that it answers."""


class Identity(msgspec.Struct, frozen=True):
    """Who the daemon is to the broker, and what it says of itself, so that others see whether it is there."""

    client: str
    """Unique among the clients of the broker."""
    online: tuple[Message, ...]
    """Sent on every connection."""
    offline: Message | None = None
    """Left with the broker, which sends it when the connection dies (last will)."""
    stopped: Message | None = None
    """Sent before an orderly end."""
    commands: str = ""
    """The topic on which it takes orders; empty: on none."""


class Receipt(msgspec.Struct, frozen=True):
    """What the other side did with a message."""

    sequence: int
    refused: str = ""
    """Why it was not taken and never will be; empty where it was."""
    busy: str = ""
    """Why it was not taken now, and may be later."""


class Order(msgspec.Struct, frozen=True):
    """What somebody asks of the daemon through the broker."""

    payload: bytes
    reply_to: str = ""
    """The topic that wants the answer; empty: nobody does."""
    correlation: bytes = b""
    """What the answer bears, so that it finds its question."""


class IdentityTaken(ConnectionError):
    """Another client came with our name, so the broker sent us away."""


class Sink(Protocol):
    """A connection. Network trouble is a ConnectionError: the forwarder waits and opens it again."""

    def open(self) -> None:
        """Connects, or raises ConnectionError."""

    def send(self, message: Message) -> None:
        """Hands the message over; its receipt comes later. Raises ConnectionError."""

    def wait(self, seconds: float) -> list[Receipt | Order]:
        """What came; returns early when something did, or when woken. Raises ConnectionError."""

    def wake(self) -> None:
        """Makes `wait` return. The one method that another thread may call."""

    def close(self) -> None:
        """Says good-bye where that is possible; never raises."""


def load(broker: Broker, identity: Identity) -> Sink:
    """The sink that `broker.url` describes.

    Raises:
        ConfigProblem: the scheme is unknown.
    """
    sink: Sink = choose(__package__, SINKS, split_url(broker.url, "broker.url").scheme, "broker.url")(broker, identity)
    return sink
