"""A hostile sender of orders, and a hostile broker."""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import paho.mqtt.client as mqtt
from altered_bundles import STORED
from daemon_process import DaemonProcess
from file_inputs import Keep
from mutations import mutate, random_of
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from rumqttd import RumqttdBroker
from waiting import patience

from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.events.sinks import Message, MqttSessionSettings
from vedette.runtime.events.sinks.mqtt import MqttSink

COMMANDS = "test/v1/plant/hall/line1/box/cmd/"
_VALUES = (None, True, -1, 0, 1, 2, 2**63 - 1, 2**63, -(2**63), 1e308, "", "x", "é", [], {}, [[]] * 50, "9" * 400)


def fuzz_orders(numbers: range, keep: Keep) -> Counter[str]:
    """Sends odd orders to a running daemon; counts how often it ended, and whether live events still come."""
    counts = Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, value in enumerate((0, 255)):
            (folder / "parts").mkdir(exist_ok=True)
            cv2.imwrite(str(folder / "parts" / f"{number}.png"), np.full((64, 64, 3), value, np.uint8))
        broker = RumqttdBroker(folder)
        broker.start()
        device = DaemonProcess(folder / "config", STORED / "weave.vedette", STORED)
        rule = "hysteresis = 0.0\nthreshold = 0.0\nupdate = 1.0"
        device.configure(f"file:{folder}/parts?fps=10&loop=true", f"mqtt://127.0.0.1:{broker.port}", rule)
        process = device.start()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTProtocolVersion.MQTTv5)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        try:
            _wait_for_events(device, 3)
            epoch = _read_epoch(device)
            for number in numbers:
                rng = random_of("order", number)
                topic = COMMANDS + rng.choice(("replay", "replay", "install", "piece", "other", "", "a/b"))
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                properties.ResponseTopic = rng.choice(("x/y", COMMANDS + "replay", "a", "é"))
                client.publish(topic, _order(rng, epoch), 1, rng.random() < 0.1, properties)
                time.sleep(0.01)
                counts["sent"] += 1
                if process.poll() is not None:
                    counts["daemon ended"] += 1
                    keep("order", number, _order(random_of("order", number), epoch), device.log()[-2000:])
                    process = device.start()
                    _wait_for_events(device, 3)
            fresh = _wait_for_events(device, 3)
            counts["live events came after the last order" if fresh else "no live event after the last order"] += 1
            counts["traceback"] += device.log().count("Traceback")
        finally:
            client.loop_stop()
            device.kill()
            broker.kill()
    return counts


def _read_epoch(device: DaemonProcess) -> str:
    """The epoch of the outbox, which stands in every event."""
    command = [sys.executable, "-m", "vedette.runtime.cli", "outbox", "list", "door", "--json", "--config"]
    done = subprocess.run([*command, str(device.folder)], capture_output=True, check=True)
    return str(json.loads(done.stdout)["epoch"])


def _order(rng: random.Random, epoch: str) -> bytes:
    """A payload: bytes, damaged JSON, or JSON with odd values."""
    if rng.random() < 0.2:
        return rng.randbytes(rng.randint(0, 200))
    if rng.random() < 0.05:
        return b'{"epoch":"\xff","from":1,"to":2}'
    order = {key: rng.choice(_VALUES) for key in ("epoch", "from", "to", "more") if rng.random() < 0.8}
    if rng.random() < 0.6:
        order |= {"epoch": epoch}
        order.pop("more", None)
    text = json.dumps(order).encode()
    if rng.random() < 0.05:
        return b"[" * 20_000
    return mutate(rng, text) if rng.random() < 0.5 else text


def _wait_for_events(device: DaemonProcess, count: int) -> bool:
    """Whether so many more events were recorded within half a minute of an idle machine."""
    wanted, deadline = device.recorded() + count, time.monotonic() + 30 * patience()
    while device.recorded() < wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def fuzz_streams(numbers: range, keep: Keep) -> Counter[str]:
    """Connects to a broker that answers with mutated MQTT 5; everything but a ConnectionError is a fault."""
    counts = Counter[str]()
    listener = socket.create_server(("127.0.0.1", 0))
    stream = b""
    threading.Thread(target=_answer, args=(listener, lambda: stream), daemon=True).start()
    broker = BrokerSettings(url=f"mqtt://127.0.0.1:{listener.getsockname()[1]}")
    birth = Message("state", b"here")
    identity = MqttSessionSettings("fuzz", (birth,), command_topic="a/cmd/replay")
    for number in numbers:
        stream = mutate(random_of("stream", number), _packets(), most=6)
        sink = MqttSink(broker, identity)
        try:
            sink.open()
            sink.send(Message("event", b"{}", sequence=1))
            for _ in range(10):
                sink.wait(0.05)
            outcome = "went on"
        except ConnectionError:
            outcome = "reconnects"
        except Exception:  # noqa: BLE001  # what the fuzzing looks for
            outcome = "traceback"
            keep("stream", number, stream, traceback.format_exc())
        sink.close()
        counts[outcome] += 1
    listener.close()
    return counts


def _packets() -> bytes:
    """CONNACK, SUBACK, PUBACKs, PUBLISH with properties, PINGRESP and DISCONNECT, as a broker sends them."""
    connack = b"\x20\x09\x00\x00\x06\x21\x00\x14\x22\x00\x0a"
    topic = b"a/cmd/replay"
    properties = b"\x08\x00\x03x/y\x09\x00\x02id\x26\x00\x01k\x00\x01v"
    body = (
        struct.pack(">H", len(topic)) + topic + b"\x00\x07" + bytes([len(properties)]) + properties + b'{"epoch":"e"}'
    )
    publish = bytes([0x32, len(body)]) + body
    return connack + b"\x90\x04\x00\x01\x00\x01" + b"\x40\x02\x00\x01\x40\x04\x00\x02\x10\x00" + publish + b"\xd0\x00"


def _answer(listener: socket.socket, stream: object) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        try:
            connection.settimeout(2)
            connection.recv(4096)
            connection.sendall(stream())  # type: ignore[operator]
            time.sleep(0.02)
        except OSError:
            pass
        connection.close()
