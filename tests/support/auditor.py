"""A subscriber that misses nothing: the broker keeps its messages while it is away."""

from __future__ import annotations

import itertools
import json
import threading

from paho.mqtt.client import CallbackAPIVersion, Client
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from vedette.runtime.events.event_batch import split_batch


class PersistentSubscriber:
    """A subscriber whom the broker keeps its messages for, with all that ever came."""

    def __init__(self, port, login=None):
        self.numbers, self.events = [], []
        self.client = Client(CallbackAPIVersion.VERSION2, "auditor", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]  # fractions work
        self.client.on_message = self.came
        if login is not None:
            self.client.username_pw_set(*login)
        self.subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self.client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self.client.subscribe("+/+/+/+/+/+/evt/#", qos=1)
        self.client.subscribe("+/+/+/+/+/+/batch/#", qos=1)
        self.client.subscribe("naive/#", qos=1)
        self.client.loop_start()
        assert self.subscribed.wait(10)

    def came(self, _client, _data, message):
        payloads = split_batch(message.payload) if "/batch/" in message.topic else [message.payload]
        for event in map(json.loads, payloads):
            self.numbers.append(int(event["sequence"]))
            self.events.append(event)

    def types(self):
        return {event["type"] for event in self.events}

    def inversions(self):
        firsts = list(dict.fromkeys(self.numbers))
        return sum(later < earlier for earlier, later in itertools.pairwise(firsts))

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
