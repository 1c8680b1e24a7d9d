"""Orders at a running daemon, through a real broker."""

from __future__ import annotations

import hashlib
import json
import threading
import time

import pytest
from altered_bundles import sign_altered
from mosquitto import BINARY
from order_box import make_desk, write_order_box
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from vedette.runtime.bundle.keys import read_private_key
from vedette.runtime.installation.configuration.configuration_order import (
    make_configuration_order,
    sign_configuration_order,
)
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.orders.bundle_pieces import PIECE_BYTES, encode_piece
from vedette.runtime.installation.orders.order import make_order, sign_order

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
    pytest.mark.wait,
]


@pytest.fixture
def settings(tmp_path, key_folder, mosquitto):
    return write_order_box(tmp_path / "config", mosquitto.port, key_folder)


@pytest.fixture
def store(settings, key_folder, tmp_path):
    """With the release that the camera runs."""
    store = ModelStore(settings.state)
    store.add("weave", 1, sign_altered(tmp_path / "one.vedette", key_folder, release=1).read_bytes())
    store.switch("weave", 1)
    return store


@pytest.fixture
def desk(settings):
    """A desk with its forwarder, without a camera."""
    desk, forwarder = make_desk(settings)
    forwarder.start()
    yield desk
    forwarder.drain(0.5)
    desk.close()
    desk.thread.join(30)
    desk.outbox.close()


class Commander:
    """Publishes commands, and sends the pieces that the box asks for."""

    def __init__(self, subscriber, desk, key):
        self.subscriber, self.topics, self.key, self.bundle = subscriber, desk.topics, key, b""
        self.answered = 0

    def publish(self, payload, name="install"):
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = f"{self.topics.responses()}fleet/1"
        self.subscriber.client.publish(self.topics.command(name), payload, 1, False, properties)

    def order(self, action, **fields):
        now = int(time.time())
        order = make_order(action, ("site/area/line/box",), "weave", issued=now, expires=now + 600, **fields)
        self.publish(sign_order(order, self.key))
        return order

    def reports(self):
        found = [json.loads(each.payload) for each in self.subscriber.messages if "/res/fleet" in each.topic]
        for report in found[self.answered :]:
            for number in report.get("pieces", ()):
                data = self.bundle[number * PIECE_BYTES :][:PIECE_BYTES]
                self.publish(encode_piece(report["order"], number, data), "piece")
        self.answered = len(found)
        return found

    def states(self):
        return [report["state"] for report in self.reports()]


@pytest.fixture
def commander(desk, mosquitto, subscribe, key_folder, wait_until):
    """Gives orders to the desk, which tells its configuration once it has subscribed to them."""
    subscriber = subscribe(mosquitto.port)
    assert subscriber.subscribed.wait(30)
    wait_until(lambda: b"configuration" in (subscriber.latest("info") or b""), "the desk")
    return Commander(subscriber, desk, read_private_key(key_folder / "vedette.key"))


def test_a_release_comes_in_pieces_and_is_left_again(store, commander, key_folder, tmp_path, wait_until):
    """The bundle travels over MQTT, `vedette install` tries and stores it, and a second order leaves it."""
    bundle = commander.bundle = sign_altered(tmp_path / "two.vedette", key_folder, release=2).read_bytes()
    subscriber = commander.subscriber
    wait_until(lambda: b"products" in (subscriber.latest("info") or b""), "the product")
    digest = hashlib.sha256(bundle).hexdigest()
    commander.order("install", release=2, sha256=digest, bytes=len(bundle), source="mqtt", minutes=3)
    wait_until(lambda: commander.states()[-1:] in (["installed"], ["failed"]), "the installation", seconds=60)
    assert commander.reports()[-1]["current"] == 2, commander.reports()[-1]
    wait_until(lambda: json.loads(subscriber.latest("info"))["products"]["weave"]["current"] == 2, "the info")
    product = json.loads(subscriber.latest("info"))["products"]["weave"]
    assert product == {"current": 2, "previous": 1, "probation": "running", "release": 2}
    commander.order("rollback", release=2)
    wait_until(lambda: commander.states()[-1] == "rolled back", "the rollback", seconds=60)
    assert store.find_model("weave").current == 1
    wait_until(lambda: len(subscriber.events) == 4, "the events")
    kinds = [event["type"].removeprefix("vedette.fleet.") for event in subscriber.events]
    assert kinds == ["accepted", "installed", "accepted", "rolled_back"]


def test_a_flood_of_orders_delays_no_event_while_one_hangs(desk, commander, wait_until):
    """An order hangs in its execution, and hundreds of payloads arrive: live events are delivered all the same."""
    hanging, go_on = threading.Event(), threading.Event()

    def execute(*_):
        hanging.set()
        go_on.wait(60)
        return ""

    desk.handler.executor.execute = execute
    subscriber = commander.subscriber
    digest = {"sha256": "a" * 64, "bytes": 10, "source": "mqtt"}
    order = commander.order("install", release=2, **digest)
    assert hanging.wait(30)
    junk = [b"", b"\xff\x00", b"[" * 20_000, b'{"order":"{}","key":"0123456789abcdef","signature":""}', bytes(60_000)]
    for number in range(300):
        commander.publish(junk[number % len(junk)], ("install", "piece", "other")[number % 3])
    desk.outbox.put_system_event("test", "live", {})
    wait_until(lambda: "vedette.test.live" in [event["type"] for event in subscriber.events], "the live event")
    assert desk.waiting.qsize() <= 4
    go_on.set()
    wait_until(lambda: "installed" in commander.states(), "the end of the order")

    def ask_again():  # the flood is still being dropped, at first with this order
        commander.publish(sign_order(order, commander.key))
        time.sleep(0.3)
        return any(report.get("known") for report in commander.reports())

    wait_until(ask_again, "the answer to the same order")
    assert desk.handler.memory.find(order.nonce).outcome == "installed"


@pytest.mark.usefixtures("store")
def test_an_order_for_a_configuration_is_carried_out_and_told(settings, commander, wait_until):
    """The order asks for a change; the program of root, here of this user, makes it; one that root refuses fails."""
    subscriber, before = commander.subscriber, settings.camera_file.read_text()
    digest = hashlib.sha256(before.encode()).hexdigest()
    assert json.loads(subscriber.latest("info"))["configuration"] == digest

    def give(action, **fields):
        now = int(time.time())
        boxes = ("site/area/line/box",)
        order = make_configuration_order(action, boxes, "door", issued=now, expires=now + 600, **fields)
        commander.publish(sign_configuration_order(order, commander.key), "configure")
        ends = ("applied", "rolled back", "failed", "refused")
        mine = [[]]

        def has_ended():
            mine[0] = [report for report in commander.reports() if report["order"] == order.nonce]
            return bool(mine[0]) and mine[0][-1]["state"] in ends

        wait_until(has_ended, f"the end of {action}", seconds=60)
        return order, mine[0][-1]

    part = '[[rules]]\nuse = "presence"\ndebounce = 3\n'
    order, report = give("configure", part=part)
    assert report["state"] == "applied", report
    assert "debounce = 3" in settings.camera_file.read_text()
    _, report = give("configure", part='[[rules]]\nuse = "presence"\nlabels = ["unicorn"]\n')
    assert (report["state"], "unicorn" in report["detail"]) == ("failed", True)
    _, report = give("rollback", undo=order.nonce)
    assert (report["state"], settings.camera_file.read_text()) == ("rolled back", before)
    wait_until(lambda: len(subscriber.events) == 3, "the events")
    kinds = [event["type"].removeprefix("vedette.config.") for event in subscriber.events]
    assert kinds == ["applied", "refused", "applied"]
    assert subscriber.events[0]["data"]["changed"] == ["rules"]
