"""Triggers as messages of the broker in vedette.toml: `mqtt:`.

    cmd/trigger/CAMERA        a part arrives; empty, or {"serial": "A-0001", "product": 0}
    cmd/acknowledge/CAMERA    {"level": true} and {"level": false}
    line/CAMERA               the outputs, when they change (docs/events.md)

A connection of its own: it waits for no event. A retained message is from before, and no part. While the broker is
away no trigger arrives; a controller that publishes must watch the heartbeat.
"""

from __future__ import annotations

import logging

import msgspec
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ...config.configuration import Config
from ...config.credentials import read_secret
from ...errors import UNREADABLE
from ...events.mqtt_identity import client_id
from ...events.sinks.mqtt import broker_address
from ...events.sinks.mqtt_tls import make_tls_context
from ...events.topics import Topics
from ..handshake import Outputs
from ..handshake_state import SERIAL_CHARACTERS
from . import LineInputs

log = logging.getLogger(__name__)

_MAX_PAYLOAD = 4096
_QUEUE = 100


class TriggerMessage(msgspec.Struct, frozen=True):
    """A part arrives."""

    serial: str = ""
    product: int | None = None
    """Product index of this part and of those after it; None: as before."""


class AcknowledgeMessage(msgspec.Struct, frozen=True):
    """The line has read the result that is shown (true), or is ready for the next one (false)."""

    level: bool


class MqttTrigger:
    """The adapter `mqtt:`.

    Raises:
        ConfigProblem: `broker.url` is not the address of a broker.
    """

    def __init__(self, settings: Config) -> None:
        self.fault = "not connected yet"
        broker, topics = settings.broker, Topics.from_config(settings)
        self.address, self.keepalive = broker_address(broker.url), broker.keepalive
        self.trigger_topic = topics.command(f"trigger/{settings.camera}")
        self.acknowledge_topic = topics.command(f"acknowledge/{settings.camera}")
        self.output_topic = topics.line(settings.camera)
        protocol = MQTTProtocolVersion.MQTTv5 if broker.protocol == "5" else MQTTProtocolVersion.MQTTv311
        self.client = Client(CallbackAPIVersion.VERSION2, f"{client_id(settings)}-line", protocol=protocol)
        if (context := make_tls_context(broker)) is not None:
            self.client.tls_set_context(context)
        if broker.username:
            self.client.username_pw_set(broker.username, read_secret(broker.password_file, "broker.password_file"))
        self.client.reconnect_delay_set(1, 10)
        self.client.max_queued_messages_set(_QUEUE)
        self.client.on_connect, self.client.on_disconnect = self._on_connect, self._on_disconnect
        self.client.on_message = self._on_message
        self.last = Outputs()

    def start(self, inputs: LineInputs) -> None:
        self.inputs = inputs
        self.client.connect_async(*self.address, self.keepalive)
        self.client.loop_start()

    def show(self, outputs: Outputs) -> None:
        """Publishes the outputs, unless the broker is away: then the next connection gets those of then."""
        self.last = outputs
        if not self.fault:
            self.client.publish(self.output_topic, msgspec.json.encode(outputs), qos=1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.fault = f"the broker refuses the connection: {reason}"
            return
        for topic in (self.trigger_topic, self.acknowledge_topic):
            client.subscribe(topic, qos=1)
        self.fault = ""
        self.show(self.last)

    def _on_disconnect(self, *_: object) -> None:
        self.fault = self.fault or "no connection to the broker"

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        if message.retain:
            log.warning("%s: a retained message is no trigger; left out", message.topic)
            return
        payload = bytes(message.payload)
        try:
            if len(payload) > _MAX_PAYLOAD:
                raise ValueError(f"{len(payload)} bytes")
            if message.topic == self.acknowledge_topic:
                self.inputs.acknowledge(msgspec.json.decode(payload, type=AcknowledgeMessage).level)
                return
            trigger = msgspec.json.decode(payload, type=TriggerMessage) if payload else TriggerMessage()
        except UNREADABLE as error:
            log.warning("%s: not understood: %s", message.topic, error)
            if message.topic == self.trigger_topic:
                self.inputs.trigger()  # a part has come, whatever it is called
            return
        if trigger.product is not None:
            self.inputs.select_product(trigger.product)
        self.inputs.trigger(trigger.serial[:SERIAL_CHARACTERS])
