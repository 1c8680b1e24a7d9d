"""The connection of `vedette fleet` to the broker: it listens to all boxes, and publishes orders and pieces."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.config.credentials import read_secret
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.events.event import new_event_id
from vedette.runtime.events.sinks import LoginRefused
from vedette.runtime.events.sinks.mqtt import broker_address
from vedette.runtime.events.sinks.mqtt_login import check_connack
from vedette.runtime.events.sinks.mqtt_tls import make_tls_context

from .inventory import LEVELS, Inventory

_CONNECT_SECONDS = 10.0
_RETRY_SECONDS = 2.0
ANSWERS = "res/fleet"
"""Below the topics of a box: where it answers orders of this program."""


class FleetConnection:
    """A connected client; it reconnects by itself.

    Args:
        broker: the broker and the login there
        inventory: takes what boxes say

    Raises:
        ConfigProblem: the broker refuses the login.
        MachineProblem: it cannot be reached.
    """

    def __init__(self, broker: BrokerSettings, inventory: Inventory) -> None:
        self.broker, self.inventory, self.root = broker, inventory, f"{broker.prefix}/v1"
        self.on_answer: Callable[[str, str, bytes], None] = lambda _place, _nonce, _payload: None
        """Takes the place of a box, the nonce of an order and the answer."""
        self.answers = list[ReasonCode]()
        client = Client(
            CallbackAPIVersion.VERSION2, f"vedette-fleet-{new_event_id()[-12:]}", protocol=MQTTProtocolVersion.MQTTv5
        )
        client.connect_timeout = _CONNECT_SECONDS
        if broker.username:
            client.username_pw_set(broker.username, read_secret(broker.password_file, "--password-file"))
        if (tls := make_tls_context(broker)) is not None:
            client.tls_set_context(tls)
        client.on_connect, client.on_message = self._subscribe, self._take
        self.client, self.next_attempt = client, 0.0
        self._open()

    def poll(self, seconds: float) -> None:
        """Receives for so long; tries to reconnect if the connection is lost."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.client.loop(min(left, 0.1)) == MQTT_ERR_SUCCESS:
                continue
            if time.monotonic() >= self.next_attempt:
                self.next_attempt = time.monotonic() + _RETRY_SECONDS
                with suppress(OSError):
                    self.client.reconnect()
            time.sleep(min(left, 0.1))

    def command(self, place: str, name: str, payload: bytes, nonce: str) -> None:
        """Publishes a command to a box; its answers come to `on_answer`."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = f"{self.root}/{place}/{ANSWERS}/{nonce}"
        self.client.publish(f"{self.root}/{place}/cmd/{name}", payload, 1, False, properties)

    def close(self) -> None:
        """Sends what waits, and disconnects."""
        end = time.monotonic() + _CONNECT_SECONDS
        while self.client.want_write() and time.monotonic() < end:
            self.poll(0.1)
        self.client.disconnect()

    def _open(self) -> None:
        host, port = broker_address(self.broker.url)
        try:
            self.client.connect(host, port)
            end = time.monotonic() + _CONNECT_SECONDS
            while not self.answers and time.monotonic() < end and self.client.loop(0.1) == MQTT_ERR_SUCCESS:
                pass
            if not self.answers:
                raise ConnectionError("the connection was closed before an answer")
            check_connack(self.answers[0], self.broker.url, self.broker)
        except LoginRefused as error:
            raise ConfigProblem(str(error), hint="give --username and --password-file, or --from DIR") from None
        except OSError as error:
            hint = "check --broker, the network, and that the broker runs"
            raise MachineProblem(f"{self.broker.url}: {error}", hint=hint) from None

    def _subscribe(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self.answers.append(reason)
        topics = [f"{self.root}/+/+/+/+/{level}/+" for level in LEVELS] + [f"{self.root}/+/+/+/+/{ANSWERS}/+"]
        client.subscribe([(topic, 1) for topic in topics])

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        topic = message.topic
        levels = topic.removeprefix(f"{self.root}/").split("/")
        if len(levels) == 7 and "/".join(levels[4:6]) == ANSWERS:
            self.on_answer("/".join(levels[:4]), levels[6], bytes(message.payload))
        else:
            self.inventory.take(topic, bytes(message.payload), message.retain)
