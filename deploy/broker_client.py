"""A connection to the broker, for programs that listen to many boxes: `vedette provision --watch`, `vedette fleet`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.config.credentials import read_secret
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.events.event import new_event_id
from vedette.runtime.events.sinks import LoginRefused
from vedette.runtime.events.sinks.mqtt import broker_address
from vedette.runtime.events.sinks.mqtt_limits import WINDOW, narrow_window
from vedette.runtime.events.sinks.mqtt_login import check_connack
from vedette.runtime.events.sinks.mqtt_tls import make_tls_context

CONNECT_SECONDS = 10.0
_RETRY_SECONDS = 2.0
_LOOP_SECONDS = 0.1


class BrokerClient:
    """A connected client; it subscribes at each connection, and reconnects by itself.

    Args:
        broker: the broker and the login there
        name: of the program, for the client's identity
        topics: what it subscribes to
        take: takes each message
        login_hint: the remedy if the broker refuses the login
        reach_hint: the remedy if the broker cannot be reached

    Raises:
        ConfigProblem: the broker refuses the login.
        MachineProblem: it cannot be reached.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        name: str,
        topics: Iterable[str],
        take: Callable[[MQTTMessage], None],
        login_hint: str,
        reach_hint: str,
    ) -> None:
        self.broker, self.topics, self.take = broker, tuple(topics), take
        self.answers = list[ReasonCode]()
        self.next_attempt = 0.0
        self.identity = f"vedette-{name}-{new_event_id()[-12:]}"
        self.window = WINDOW
        try:
            self._open()
        except LoginRefused as error:
            raise ConfigProblem(str(error), hint=login_hint) from None
        except OSError as error:
            raise MachineProblem(f"{broker.url}: {error}", hint=reach_hint) from None

    def poll(self, seconds: float) -> None:
        """Receives for so long; tries to reconnect if the connection is lost."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.client.loop(min(left, _LOOP_SECONDS)) == MQTT_ERR_SUCCESS:
                continue
            if time.monotonic() >= self.next_attempt:
                self.next_attempt = time.monotonic() + _RETRY_SECONDS
                with suppress(OSError):
                    self.client.reconnect()
            time.sleep(min(left, _LOOP_SECONDS))

    def publish(self, topic: str, payload: bytes, properties: Properties) -> None:
        """Publishes a message that is not retained."""
        self.client.publish(topic, payload, 1, False, properties)

    def close(self) -> None:
        """Sends what waits, and disconnects."""
        end = time.monotonic() + CONNECT_SECONDS
        while self.client.want_write() and time.monotonic() < end:
            self.poll(_LOOP_SECONDS)
        self.client.disconnect()

    def _make_client(self) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, self.identity, protocol=MQTTProtocolVersion.MQTTv5)
        client.connect_timeout = CONNECT_SECONDS
        client.max_inflight_messages_set(self.window)
        if self.broker.username:
            client.username_pw_set(self.broker.username, read_secret(self.broker.password_file, "--password-file"))
        if (tls := make_tls_context(self.broker)) is not None:
            client.tls_set_context(tls)
        client.on_connect, client.on_message = self._subscribe, self._take
        return client

    def _open(self) -> None:
        self.client = self._make_client()
        host, port = broker_address(self.broker.url)
        self.client.connect(host, port)
        end = time.monotonic() + CONNECT_SECONDS
        while not self.answers and time.monotonic() < end and self.client.loop(_LOOP_SECONDS) == MQTT_ERR_SUCCESS:
            pass
        if not self.answers:
            raise ConnectionError("the connection was closed before an answer")
        check_connack(self.answers[0], self.broker.url, self.broker)
        if self.window < self.client.max_inflight_messages:
            self.client.disconnect()
            self.answers.clear()
            self._open()

    def _subscribe(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.answers.append(reason)
        self.window = narrow_window(self.window, properties)
        client.subscribe([(topic, 1) for topic in self.topics])

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.take(message)
