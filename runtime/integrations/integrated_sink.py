"""The sink with integrations: it shows them what is published, and sends their messages over the same connection."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec

from ..bundle.manifest import Manifest
from ..config.configuration import BrokerSettings, Config
from ..events.cloud_event import CloudEvent, EventData
from ..events.sinks import Acknowledgement, Command, Message, MessageRefused, MqttSessionSettings, Sink
from ..events.topics import Topics
from ..monitoring.status import DaemonState, StatusReport
from . import Integration, IntegrationContext, PublishedEvent, PublishedSystemEvent, load_integrations
from .loss_counter import LossCounter
from .retained_topics import RetainedTopics

log = logging.getLogger(__name__)

_SETTLED_SECONDS = 5.0  # a connection of that age has taken what was sent at its start
_FLUSH_SECONDS, _QUIET_SECONDS = 2.0, 0.2


class IntegratedSink:
    """A sink that also sends the messages of integrations, each before the message that it is made of.

    Args:
        inner: the connection to the broker
        integrations: by name
        topics: topics of the device
        camera: name of the camera
        retained: remembers the retained topics of the integrations
    """

    def __init__(
        self,
        inner: Sink,
        integrations: Mapping[str, Integration],
        topics: Topics,
        camera: str,
        retained: RetainedTopics,
    ) -> None:
        self.inner, self.integrations, self.retained = inner, integrations, retained
        self.source, self.camera = topics.source, camera
        self.state, self.stats = topics.state(camera), topics.stats(camera)
        self.subscriptions = {topic for each in integrations.values() for topic in each.subscriptions}
        self.opened = float("inf")
        """When the connection was opened, by time.monotonic()."""
        self.losses = LossCounter()
        self.failed: set[str] = set()
        """Integrations whose error is in the log."""

    def open(self) -> None:
        self.inner.open()
        self.opened = time.monotonic()
        for topic in self.retained.stale_topics():
            self.inner.send(Message(topic, b"", retain=True))
        self._send_all(lambda integration: integration.messages_on_connect())

    def send(self, message: Message) -> None:
        for part in message.parts or (message,):
            if not part.replayed:
                self._send_all(partial(self._messages_for, message=part), message.sequence)
        self.inner.send(message)

    def wait(self, seconds: float) -> list[Acknowledgement | Command]:
        with self._watch():
            received = self.inner.wait(seconds)
        if time.monotonic() - self.opened > _SETTLED_SECONDS:
            self.opened = float("inf")
            self.retained.forget_stale_topics()
        others: list[Acknowledgement | Command] = []
        for each in received:
            if isinstance(each, Command) and each.topic in self.subscriptions:
                self._answer(each)
            else:
                others.append(each)
                if isinstance(each, Acknowledgement) and not each.busy:
                    self.losses.count_acknowledgement(each.sequence)
        return others

    def wake(self) -> None:
        self.inner.wake()

    def close(self) -> None:
        if self.opened != float("-inf"):
            with contextlib.suppress(ConnectionError):
                self._send_all(lambda integration: integration.messages_on_stop())
                self._flush()
        self.inner.close()
        self.opened = float("-inf")

    def _flush(self) -> None:
        """Waits until the broker has answered to what was sent, so that nothing delays the last message."""
        deadline = time.monotonic() + _FLUSH_SECONDS
        while (began := time.monotonic()) < deadline:
            self.inner.wait(_QUIET_SECONDS)
            if time.monotonic() - began >= _QUIET_SECONDS:
                return

    def _answer(self, command: Command) -> None:
        self._send_all(lambda each: each.messages_for_command(command) if command.topic in each.subscriptions else ())

    def _messages_for(self, integration: Integration, message: Message) -> Iterable[Message]:
        if message.topic == self.state:
            return integration.messages_for_state(msgspec.json.decode(message.payload, type=DaemonState))
        if message.topic == self.stats:
            return integration.messages_for_report(msgspec.json.decode(message.payload, type=StatusReport))
        if message.sequence is None:
            return ()
        rule, payload = message.topic.rsplit("/", 1)[-1], message.payload
        if b'"modelid":' in payload:
            event = msgspec.json.decode(payload, type=CloudEvent[EventData])
            return integration.messages_for_event(PublishedEvent(self.camera, rule, message.topic, event, payload))
        facts = msgspec.json.decode(payload, type=CloudEvent[dict[str, Any]])
        kind = facts.type.rsplit(".", 1)[-1]
        return integration.messages_for_system_event(
            PublishedSystemEvent(self.camera, rule, kind, message.topic, facts, payload)
        )

    def _send_all(self, make: Callable[[Integration], Iterable[Message]], sequence: int | None = None) -> None:
        """Sends the messages that `make` returns for each integration. Raises ConnectionError."""
        if self.losses.is_suspended():
            return
        for name, integration in self.integrations.items():
            try:
                messages = list(make(integration))
            except Exception:  # an integration must not stop events
                if name not in self.failed:
                    self.failed.add(name)
                    log.exception("%s: a message could not be made", name)
                continue
            for message in messages:
                if message.retain and message.payload:
                    self.retained.add(message.topic)
                with self._watch():
                    self.inner.send(message)
                self.losses.count_message(sequence)

    @contextlib.contextmanager
    def _watch(self) -> Iterator[None]:
        """Counts lost connections. One that a message of an integration may have caused is laid to no event."""
        try:
            yield
        except ConnectionError as error:
            if self.losses.count_loss(error) and isinstance(error, MessageRefused):
                raise ConnectionError(str(error)) from None
            raise


def open_integrated_sink(
    open_sink: Callable[[BrokerSettings, MqttSessionSettings], Sink],
    get_settings: Callable[[], Config],
    session: MqttSessionSettings,
    manifest: Manifest,
) -> Sink:
    """Makes the sink of a camera with the integrations that vedette.toml turns on.

    Args:
        open_sink: makes the connection to the broker
        get_settings: the present configuration
        session: MQTT identity of the daemon
        manifest: manifest of the camera's bundle

    Raises:
        ConfigProblem: the settings of the broker or of an integration cannot work.
    """
    settings = get_settings()
    topics = Topics.from_config(settings)
    integrations = load_integrations(IntegrationContext(get_settings, manifest, topics))
    retained = RetainedTopics(settings)
    if not settings.broker.url.startswith("mqtt") or (not integrations and not retained.stale_topics()):
        return open_sink(settings.broker, session)
    more = tuple(dict.fromkeys(topic for each in integrations.values() for topic in each.subscriptions))
    inner = open_sink(settings.broker, msgspec.structs.replace(session, more_topics=more))
    return IntegratedSink(inner, integrations, topics, settings.camera, retained)
