"""`vedette sparkplug` between two real brokers: a box here, a SCADA system there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mosquitto import BINARY, Mosquitto
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from subscriber import Subscriber
from waiting import wait_for

from vedette.deploy.sparkplug.edge_node import REBIRTH
from vedette.deploy.sparkplug.payload import BOOLEAN, Metric, decode_payload, encode_payload

pytestmark = [
    pytest.mark.wait,
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
]
BOX = "vedette/v1/plant/hall/line1/box"
DOOR = "plant:hall:line1:box:door"


@pytest.fixture
def host_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "host")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def box(mosquitto: Mosquitto) -> Iterator[Callable[..., None]]:
    """Publishes as a box does."""
    client = Client(CallbackAPIVersion.VERSION2, "box")
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()

    def publish(level: str, body: Any, retain: bool = True) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        client.publish(f"{BOX}/{level}", text, 1, retain).wait_for_publish(10)

    yield publish
    client.disconnect()
    client.loop_stop()


def alarm(kind: str) -> dict[str, Any]:
    data = {"kind": kind, "event": "e1", "top_score": 7.5, "predictions": [{"label": "dent", "score": 7.5}]}
    return {"time": datetime.now(UTC).isoformat(), "data": data}


def seen(subscriber: Subscriber, kind: str) -> list[tuple[int | None, dict[str, Any]]]:
    """Sequence numbers and metrics of the messages of a kind."""
    found = []
    for message in subscriber.messages:
        if f"/{kind}/" in message.topic:
            assert (message.qos, message.retain) == (0, False)
            sequence, metrics = decode_payload(bytes(message.payload))
            found.append((sequence, {each.name or str(each.alias): each.value for each in metrics}))
    return found


def ask_often(host: Subscriber, ask: bytes) -> int:
    """Asks for 200 births, which are not one for each; returns how many there have been since the start."""
    before, asked = len(seen(host, "NBIRTH")), time.monotonic()
    for _ in range(200):
        host.client.publish("spBv1.0/Plant/NCMD/cameras", ask, 0)
    wait_for(lambda: len(seen(host, "NBIRTH")) > before, "a birth for all who ask")
    time.sleep(1.5)  # a second one for those who asked after it
    assert len(seen(host, "NBIRTH")) <= before + 2 + time.monotonic() - asked
    return len(seen(host, "NBIRTH"))


def test_camera_is_born_tells_alarms_and_dies(
    mosquitto: Mosquitto,
    host_broker: Mosquitto,
    box: Callable[..., None],
    subscribe: Callable[[int], Subscriber],
    tmp_path: Path,
) -> None:
    host = subscribe(host_broker.port)
    wait_for(host.subscribed.is_set, "the subscription")
    box("info/door", {"model": "cells:3:ab", "runtime": "0.1"})
    box("state/door", {"open": [], "faults": []})
    box("availability/door", "online")
    command = [sys.executable, "-m", "vedette.runtime.cli", "sparkplug", "--group", "Plant"]
    command += ["--broker", f"mqtt://127.0.0.1:{mosquitto.port}", "--host", f"mqtt://127.0.0.1:{host_broker.port}"]
    with (tmp_path / "log").open("wb") as log:
        bridge = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: seen(host, "DBIRTH"), f"the birth of the camera: {(tmp_path / 'log').read_text()}")
        kinds = [each.topic.split("/")[2] for each in host.messages if each.topic.startswith("spBv1.0/")]
        assert kinds[0] == "NBIRTH", "before all others"
        ((number, node),) = seen(host, "NBIRTH")
        assert (number, node["bdSeq"], node[REBIRTH]) == (0, 0, False)

        box("evt/door/presence", alarm("new"), retain=False)
        wait_for(lambda: "Rules/presence/Alarm" in seen(host, "DBIRTH")[-1][1], "a birth with the new rule")
        birth = seen(host, "DBIRTH")[-1][1]
        assert (birth["Rules/presence/Alarm"], birth["Rules/presence/Label"]) == (True, "dent")
        assert birth["Properties/Model"] == "cells:3:ab"
        box("evt/door/presence", alarm("end"), retain=False)
        wait_for(lambda: seen(host, "DDATA"), "the end")
        assert list(seen(host, "DDATA")[-1][1].values()) == [False], "only what changed"

        births = len(seen(host, "DBIRTH"))
        ask = encode_payload([Metric(REBIRTH, BOOLEAN, True)], None)
        host.client.publish("spBv1.0/Plant/NCMD/cameras", ask, 0)
        wait_for(lambda: len(seen(host, "NBIRTH")) == 2 and len(seen(host, "DBIRTH")) > births, "births again")
        assert (seen(host, "NBIRTH")[-1][0], seen(host, "DBIRTH")[-1][0]) == (0, 1)

        born = ask_often(host, ask)

        box("availability/door", "offline")
        wait_for(lambda: seen(host, "DDEATH"), "the death of the camera")
        assert [each.topic for each in host.messages if "/DDEATH/" in each.topic] == [
            f"spBv1.0/Plant/DDEATH/cameras/{DOOR}"
        ]
        box("availability/door", "online")
        wait_for(lambda: seen(host, "DBIRTH")[-1][0] == 3, "its next birth")

        host_broker.kill()
        host_broker.start()
        wait_for(lambda: len(seen(host, "NBIRTH")) == born + 1, "the next connection", seconds=60)
        assert seen(host, "NBIRTH")[-1][1]["bdSeq"] >= 1
        wait_for(lambda: seen(host, "DBIRTH")[-1][0] == 1, "the camera at the next connection")

        bridge.send_signal(signal.SIGKILL)
        wait_for(lambda: seen(host, "NDEATH"), "the last will")
        assert seen(host, "NDEATH")[-1] == (None, {"bdSeq": seen(host, "NBIRTH")[-1][1]["bdSeq"]})
    finally:
        bridge.kill()
        bridge.wait()


def test_orderly_end_says_that_the_node_is_gone(
    mosquitto: Mosquitto, subscribe: Callable[[int], Subscriber], tmp_path: Path
) -> None:
    host = subscribe(mosquitto.port)
    wait_for(host.subscribed.is_set, "the subscription")
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    command = [sys.executable, "-m", "vedette.runtime.cli", "sparkplug", "--broker", url, "--host", url]
    bridge = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: seen(host, "NBIRTH"), "the birth")
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(30) == 0
        wait_for(lambda: seen(host, "NDEATH"), "the death")
        time.sleep(0.2)
        assert len(seen(host, "NDEATH")) == 1, "the last will is not sent as well"
    finally:
        bridge.kill()
        bridge.wait()
