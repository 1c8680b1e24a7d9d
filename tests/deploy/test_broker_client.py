"""The client of programs that listen to many boxes."""

from __future__ import annotations

import time

from limited_broker import LimitedBroker
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from waiting import patience

from vedette.deploy.broker_client import BrokerClient
from vedette.runtime.config.configuration import BrokerSettings


def test_it_sends_no_more_messages_than_the_broker_takes_at_once() -> None:
    broker = LimitedBroker(receive_maximum=4)
    client = BrokerClient(BrokerSettings(url=broker.url), "test", ("v/#",), lambda _: None, "", "")
    for _ in range(25):
        client.publish("v/cmd/install", b"order", Properties(PacketTypes.PUBLISH))
    end = time.monotonic() + 30 * patience()
    while broker.taken < 25 and time.monotonic() < end:
        client.poll(0.1)
    assert (broker.taken, broker.exceeded) == (25, 0)
    assert 1 < broker.most <= 4
    client.close()
    broker.close()
