"""Event sinks: the scheme of `broker.url` selects one."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ...config.configuration import BrokerSettings
from ...plugin_tables import load_plugin, split_url

SINKS = {
    "mqtt": ".mqtt:MqttSink",
    "mqtts": ".mqtt:MqttSink",
    "stdout": ".stdout:StdoutSink",
    "none": ".nothing:NothingSink",
}


class Message(msgspec.Struct, frozen=True):
    """A message to publish on a topic."""

    topic: str
    payload: bytes
    retain: bool = False
    content_type: str = "text/plain"
    sequence: int | None = None
    """Sequence number of the event in the outbox; None if no acknowledgement is needed."""
    correlation: bytes = b""
    """Correlation data (MQTT 5) of the command that the message answers."""
    replayed: bool = False
    """True: an event that was delivered before, and that a consumer asked for again."""
    parts: tuple[Message, ...] = ()
    """Of a batch: each of its events as a message of its own."""


class MqttSessionSettings(msgspec.Struct, frozen=True):
    """Client ID and availability messages of the daemon at the broker."""

    client_id: str
    """Unique among the clients of the broker."""
    birth_messages: tuple[Message, ...]
    """Sent after each connection."""
    last_will: Message | None = None
    """Last will: the broker publishes it when the connection breaks."""
    stop_message: Message | None = None
    """Sent before an orderly disconnect."""
    command_topic: str = ""
    """Topics to subscribe to for commands; empty: none."""
    more_topics: tuple[str, ...] = ()
    """Other topics to subscribe to."""


class Acknowledgement(msgspec.Struct, frozen=True):
    """The broker's answer to a message. The message was accepted if `refused` and `busy` are empty."""

    sequence: int
    refused: str = ""
    """Reason of a permanent refusal."""
    busy: str = ""
    """Reason of a temporary refusal."""


class Command(msgspec.Struct, frozen=True):
    """A command that the daemon received through the broker."""

    payload: bytes
    reply_to: str = ""
    """Response topic; empty: no answer is wanted."""
    correlation: bytes = b""
    """Correlation data to return with the answer."""
    retained: bool = False
    """True: the broker kept the command from before, and delivers it at each connection."""
    topic: str = ""


class LoginRefused(ConnectionError):
    """The broker refuses the user name, the password or the certificate."""


class SessionTakenOver(ConnectionError):
    """The broker closed the connection because another client connected with the same client ID."""


class MessageRefused(ConnectionError):
    """The broker closed the connection because of a message that it does not take."""


class Sink(Protocol):
    """A connection to a receiver of events. A network failure is a ConnectionError: the forwarder then reconnects."""

    def open(self) -> None:
        """Connects. Raises ConnectionError."""

    def send(self, message: Message) -> None:
        """Sends a message; `wait` returns its acknowledgement later. Raises ConnectionError."""

    def wait(self, seconds: float) -> list[Acknowledgement | Command]:
        """Returns what has arrived, after at most `seconds`; earlier on arrival or `wake`. Raises ConnectionError."""

    def wake(self) -> None:
        """Makes `wait` return. Only this method may be called from another thread."""

    def close(self) -> None:
        """Disconnects, orderly if possible. Never raises."""


def load_sink(broker: BrokerSettings, identity: MqttSessionSettings) -> Sink:
    """Makes the sink for `broker.url`.

    Raises:
        ConfigProblem: the scheme is unknown.
    """
    sink: Sink = load_plugin(__package__, SINKS, split_url(broker.url, "broker.url").scheme, "broker.url")(
        broker, identity
    )
    return sink
