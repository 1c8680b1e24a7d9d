"""How long live events take while orders flood a device: part of `make bench-fleet`.

The forwarder, the outbox and the desk of orders are the real ones, and so is mosquitto. An event is stored every 50 ms
and its way to a subscriber is timed: first alone, then while payloads arrive at `cmd/install` and `cmd/piece`: random
bytes, damaged orders, nested brackets and orders of an untrusted key.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("support", "fuzz"))

import click
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mosquitto import Mosquitto
from mutations import mutate
from order_box import make_desk, write_order_box
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from subscriber import Subscriber

from vedette.runtime.bundle.keys import generate_key_pair
from vedette.runtime.events import sinks
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.topics import Topics
from vedette.runtime.installation.orders.order import make_order, sign_order

EVENTS, EVERY_SECONDS, PAYLOADS_A_SECOND = 200, 0.05, 200


def flood(publisher: Client, topics: Topics, stopping: threading.Event) -> None:
    """Publishes payloads until it is stopped."""
    rng, key = random.Random(0), Ed25519PrivateKey.generate()
    now = int(time.time())
    order = make_order("rollback", ("site/area/line/box",), "weave", 1, issued=now, expires=now + 60)
    signed = sign_order(order, key)
    while not stopping.is_set():
        kind = rng.randrange(4)
        payload = (rng.randbytes(rng.randint(0, 60_000)), mutate(rng, signed), b"[" * 20_000, signed)[kind]
        publisher.publish(topics.command(rng.choice(("install", "install", "piece"))), payload, 1)
        time.sleep(1 / PAYLOADS_A_SECOND)


def time_events(outbox: Outbox, sink: sinks.Sink, subscriber: Subscriber, name: str) -> dict[str, float]:
    """Stores events, and times their way to the subscriber."""
    arrived: dict[int, float] = {}

    def take(_client: object, _data: object, message: sinks.Message) -> None:
        if "/evt/" in message.topic:
            event = json.loads(message.payload)
            if event["type"] == f"vedette.test.{name}":
                arrived.setdefault(event["data"]["number"], time.monotonic())

    subscriber.client.on_message = take
    stored = []
    for number in range(EVENTS):
        stored.append(time.monotonic())
        outbox.put_system_event("test", name, {"number": number})
        sink.wake()
        time.sleep(EVERY_SECONDS)
    deadline = time.monotonic() + 60
    while len(arrived) < EVENTS and time.monotonic() < deadline:
        time.sleep(0.05)
    delays = [1e3 * (arrived[number] - stored[number]) for number in arrived]
    names = {"median ms": 50, "99 % ms": 99, "most ms": 100}
    return {"arrived": len(arrived)} | {each: round(float(np.percentile(delays, q)), 1) for each, q in names.items()}


def main() -> None:
    """Prints a line of JSON without and with a flood."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(folder / "broker")
        broker.start()
        generate_key_pair(folder / "keys")
        settings = write_order_box(folder / "config", broker.port, folder / "keys")
        desk, forwarder = make_desk(settings)
        forwarder.start()
        watcher = Subscriber(broker.port)
        publisher = Client(CallbackAPIVersion.VERSION2, "flood", protocol=MQTTProtocolVersion.MQTTv5)
        publisher.connect("127.0.0.1", broker.port)
        publisher.loop_start()
        stopping = threading.Event()
        try:
            watcher.subscribed.wait(10)
            click.echo(json.dumps({"orders": "none"} | time_events(desk.outbox, desk.sink, watcher, "quiet")))
            threading.Thread(target=flood, args=(publisher, desk.topics, stopping), daemon=True).start()
            click.echo(json.dumps({"orders": "flood"} | time_events(desk.outbox, desk.sink, watcher, "flood")))
            click.echo(json.dumps({"the forwarder lives": forwarder.is_alive()}))
        finally:
            stopping.set()
            forwarder.drain(1.0)
            broker.kill()


if __name__ == "__main__":
    main()
