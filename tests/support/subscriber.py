"""An MQTT subscriber that collects all messages."""

from __future__ import annotations

import json
import threading
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from vedette.runtime.events.event_batch import split_batch


class Subscriber:
    """Collects every message below `#`, subscribing again whenever it reconnects."""

    def __init__(self, port: int) -> None:
        self.messages: list[MQTTMessage] = []
        self.subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, "subscriber", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]  # fractions work
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_disconnect = lambda *_: self.subscribed.clear()
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events as they came, those of batches too."""
        singles = [([bytes(each.payload)] if "/evt/" in each.topic else self.split(each)) for each in self.messages]
        return [json.loads(payload) for payloads in singles for payload in payloads]

    @property
    def batches(self) -> list[MQTTMessage]:
        """The messages with several events."""
        return [each for each in self.messages if "/batch/" in each.topic]

    @staticmethod
    def split(message: MQTTMessage) -> list[bytes]:
        """The events of a message, if it is a batch."""
        return split_batch(bytes(message.payload)) if "/batch/" in message.topic else []

    def latest(self, level: str) -> bytes | None:
        """The newest payload of the topic that has `level` in it."""
        payloads = [message.payload for message in self.messages if f"/{level}/" in message.topic]
        return bytes(payloads[-1]) if payloads else None
