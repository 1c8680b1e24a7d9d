"""Integrations: messages that other programs understand, made of what a camera's daemon publishes anyway.

Each is a table of vedette.toml, off by default, and sees every message that goes to the broker. Its own messages go
over the same connection, before the message that they are made of: once the broker has acknowledged an event, it has
them, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from ..bundle.manifest import Manifest
from ..config.configuration import Config
from ..events.cloud_event import CloudEvent, EventData
from ..events.sinks import Command, Message
from ..events.topics import Topics
from ..monitoring.status import DaemonState, StatusReport
from ..plugin_tables import load_plugin

INTEGRATIONS = {
    "frigate": ".frigate:Frigate",
    "home_assistant": ".home_assistant:HomeAssistant",
    "onvif": ".onvif:Onvif",
}
"""By the name of the table in vedette.toml."""


class PublishedEvent(msgspec.Struct, frozen=True):
    """An event that a rule detected, as it is published (docs/events.md)."""

    camera: str
    rule: str
    topic: str
    message: CloudEvent[EventData]
    payload: bytes
    """`message` as JSON."""


class PublishedSystemEvent(msgspec.Struct, frozen=True):
    """An event about the device itself, as it is published; `message.data` is described by `SYSTEM_EVENTS`."""

    camera: str
    rule: str
    """The component: `outbox`, `camera`, `device` and so on."""
    kind: str
    topic: str
    message: CloudEvent[dict[str, Any]]
    payload: bytes
    """`message` as JSON."""


class IntegrationContext(msgspec.Struct, frozen=True):
    """What an integration knows of the camera."""

    get_settings: Callable[[], Config]
    """The present configuration: its rules change on SIGHUP, all else stays."""
    manifest: Manifest
    topics: Topics

    @property
    def camera(self) -> str:
        return self.get_settings().camera

    def rules(self) -> dict[str, str]:
        """The present rules: name -> `use`, in the order of the camera's file."""
        return {str(table.get("name", table["use"])): str(table["use"]) for table in self.get_settings().rules}


class Integration(Protocol):
    """One kind of messages for other programs; a class of its own inherits what it does not need.

    The forwarder's thread calls all methods. They must not block. An exception is logged, and the event goes out
    without the messages. Messages of an integration are not in the outbox: a lost connection loses those that are not
    about an event. Those about an event are made again when it is sent again. Replayed events are not shown.
    """

    subscriptions: tuple[str, ...] = ()
    """Topics whose messages `messages_for_command` gets, beside the device's own commands."""

    def __init__(self, context: IntegrationContext) -> None:
        """Raises ConfigProblem if the settings cannot work."""

    def messages_on_connect(self) -> Iterable[Message]:
        """The messages to send after each connection, before all others: a broker may have lost retained ones."""
        return ()

    def messages_for_event(self, event: PublishedEvent) -> Iterable[Message]:
        """The messages to send before an event. It may come again after a lost connection."""
        return ()

    def messages_for_system_event(self, event: PublishedSystemEvent) -> Iterable[Message]:
        """The messages to send before an event about the device itself."""
        return ()

    def messages_for_state(self, state: DaemonState) -> Iterable[Message]:
        """The messages to send with the topic `state`: at each connection and at each change."""
        return ()

    def messages_for_report(self, report: StatusReport) -> Iterable[Message]:
        """The messages to send with the topic `stats`: at each connection and every minute."""
        return ()

    def messages_for_command(self, command: Command) -> Iterable[Message]:
        """The answers to a message on one of `subscriptions`. Anybody at the broker may have sent it."""
        return ()

    def messages_on_stop(self) -> Iterable[Message]:
        """The messages to send before an orderly disconnect."""
        return ()


def load_integrations(context: IntegrationContext) -> dict[str, Integration]:
    """The integrations that vedette.toml turns on, by name.

    Raises:
        ConfigProblem: the settings of one cannot work.
    """
    tables = context.get_settings().integrations
    return {
        name: load_plugin(__package__, INTEGRATIONS, name, "integration")(context)
        for name in INTEGRATIONS
        if getattr(tables, name).is_enabled
    }
