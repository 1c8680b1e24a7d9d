"""The subscriber of the demonstration: it counts what the daemon publishes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from vedette.runtime.errors import MachineProblem
from vedette.runtime.events.sinks.mqtt import broker_address

TOPIC_PREFIX = "vedette-demo"


class ReceivedMessages(msgspec.Struct):
    """Messages from the broker, collected as they arrive."""

    events: list[dict[str, Any]] = []
    bytes: int = 0
    """Size of the topics and payloads of all messages of the daemon."""


def subscribe(url: str, show_event: Callable[[dict[str, Any]], None]) -> tuple[Client, ReceivedMessages]:
    """A connected subscriber to all topics of the demonstration, and what it receives.

    Args:
        url: the broker
        show_event: is called with each event as it arrives

    Raises:
        MachineProblem: the broker does not answer.
    """
    received = ReceivedMessages()
    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, "vedette-demo-subscriber", protocol=MQTTProtocolVersion.MQTTv5)

    def on_message(_client: Client, _data: Any, message: MQTTMessage) -> None:
        received.bytes += len(message.topic.encode()) + len(message.payload)
        if "/evt/" in message.topic:
            event = json.loads(message.payload)
            received.events.append(event)
            show_event(event)

    client.on_message = on_message
    client.on_connect = lambda each, *_: each.subscribe(f"{TOPIC_PREFIX}/#", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    host, port = broker_address(url)
    try:
        client.connect(host, port)
    except OSError as error:
        raise MachineProblem(f"{url}: {error}", hint="start the broker, or leave --broker out") from None
    client.loop_start()
    if not ready.wait(10):
        raise MachineProblem(f"{url} does not answer as an MQTT 5 broker", hint="leave --broker out")
    return client, received
