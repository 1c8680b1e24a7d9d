"""Batches of events at a real broker: nothing is lost, whatever ends between the message and its acknowledgement."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from events import make_event
from mosquitto import BINARY, Mosquitto
from subscriber import Subscriber

from vedette.runtime.config.batch_table import BatchSettings
from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.events.event_batch import BATCH_TYPE
from vedette.runtime.events.forwarder import Forwarder
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.sinks import MqttSessionSettings, load_sink
from vedette.runtime.events.topics import Topics
from vedette.runtime.inference.prediction import Box, Prediction

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
    pytest.mark.wait,
]
TOPICS = Topics("v/v1/a/b/c/device", "/a/b/c/device")
SENDER = """
import sys, time
from pathlib import Path
sys.path[:0] = {paths!r}
from events import make_event
from test_batches import open_device
outbox, forwarder = open_device(Path({folder!r}), {url!r}, seconds=0.1)
forwarder.start()
while not forwarder.connected:
    time.sleep(0.01)
print("connected", flush=True)
sys.stdin.readline()
for number in range(30):
    outbox.put(make_event(number))
while sum(len(each.content.rows) for each in list(forwarder.in_flight.by_sequence.values())) < 30:
    time.sleep(0.01)
print("sent", outbox.count_pending(), flush=True)
time.sleep(600)
"""


def open_device(folder: Path, url: str, **batch: Any) -> tuple[Outbox, Forwarder]:
    """An outbox, and the forwarder that sends its events in batches."""
    outbox = Outbox(folder / "outbox.db", 1 << 22, volatile=True, camera="door")
    sink = load_sink(BrokerSettings(url=url), MqttSessionSettings("box", ()))
    return outbox, Forwarder(outbox, sink, TOPICS, batch=BatchSettings(**{"seconds": 0.2} | batch))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[[str], Mosquitto]]:
    brokers = []

    def start(settings: str = "") -> Mosquitto:
        brokers.append(Mosquitto(tmp_path / f"broker{len(brokers)}", settings))
        brokers[-1].start()
        return brokers[-1]

    yield start
    for each in brokers:
        each.kill()


@pytest.fixture
def run_device(tmp_path: Path) -> Iterator[Callable[..., Outbox]]:
    running: list[tuple[Outbox, Forwarder]] = []

    def run(url: str, *events: Any, **batch: Any) -> Outbox:
        outbox, forwarder = open_device(tmp_path / "box", url, **batch)
        outbox.put(*events)
        forwarder.start()
        running.append((outbox, forwarder))
        return outbox

    yield run
    for outbox, forwarder in running:
        forwarder.drain(0.5)
        assert forwarder.finished
        outbox.close()


def address(broker: Mosquitto) -> str:
    return f"mqtt://127.0.0.1:{broker.port}"


def listen(subscribe: Callable[[int], Subscriber], broker: Mosquitto) -> Subscriber:
    subscriber = subscribe(broker.port)
    assert subscriber.subscribed.wait(30)
    return subscriber


def numbers(subscriber: Subscriber) -> list[int]:
    return [int(each["sequence"]) for each in subscriber.events]


@pytest.mark.parametrize(("encoding", "most"), [("gzip", 12), ("json", 60)])
def test_events_arrive_in_small_batches_and_in_order(broker, subscribe, run_device, wait_until, encoding, most):
    server = broker()
    subscriber = listen(subscribe, server)
    outbox = run_device(address(server), *(make_event(number) for number in range(100)), encoding=encoding)
    wait_until(lambda: numbers(subscriber) == list(range(1, 101)), "all events once, in order")
    wait_until(lambda: outbox.count_pending() == 0, "the acknowledgements")
    payloads = [bytes(each.payload) for each in subscriber.batches]
    assert 100 / 64 < len(payloads) <= most
    assert max(map(len, payloads)) <= 2048
    (one,) = {(each.topic, each.properties.ContentType) for each in subscriber.batches}
    assert one == ("v/v1/a/b/c/device/batch/door", BATCH_TYPE)


def test_a_batch_counts_as_delivered_only_when_it_is_acknowledged(broker, subscribe, run_device, wait_until, tmp_path):
    """The sender is killed with SIGKILL after it has sent, while the broker is frozen and acknowledges nothing."""
    server = broker()
    subscriber = listen(subscribe, server)
    paths = [str(Path(__file__).parent), *(each for each in sys.path if each.endswith("support"))]
    code = SENDER.format(paths=paths, folder=str(tmp_path / "box"), url=address(server))
    sender = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert sender.stdin is not None
    assert sender.stdout is not None
    try:
        assert sender.stdout.readline() == "connected\n"
        server.freeze()
        sender.stdin.write("go\n")
        sender.stdin.flush()
        assert sender.stdout.readline() == "sent 30\n"
    finally:
        sender.kill()
        sender.wait()
    server.thaw()
    outbox, _ = open_device(tmp_path / "box", address(server))
    assert outbox.count_pending() == 30
    ids = [row.event.id for row in outbox.read_after(0, 100)]
    outbox.close()
    outbox = run_device(address(server))
    wait_until(lambda: outbox.count_pending() == 0, "the acknowledgements")
    wait_until(lambda: len(subscriber.events) >= 60, "the events of both lives")
    assert sorted(each["id"] for each in subscriber.events) == sorted(2 * ids)


@pytest.mark.parametrize("knows_limit", [True, False])
def test_an_event_that_the_broker_refuses_takes_no_other_of_its_batch_along(
    broker, subscribe, run_device, wait_until, monkeypatch, knows_limit
):
    """Mosquitto tells its limit when a client connects; one that does not look at it loses the connection."""
    monkeypatch.setattr("vedette.runtime.events.forwarder.MAX_BACKOFF_SECONDS", 0.2)
    if not knows_limit:
        monkeypatch.setattr("vedette.runtime.events.sinks.mqtt.packet_bytes", lambda _: 0)
    server = broker("max_packet_size 20000\n")
    subscriber = listen(subscribe, server)
    boxes = (Prediction("dent", 0.5, Box(0.1, 0.2, 0.3, 0.4)),) * 400
    events = [make_event(number) for number in range(6)]
    events[3] = msgspec.structs.replace(events[3], predictions=boxes)
    outbox = run_device(address(server), *events, bytes=200_000, encoding="json")
    wait_until(lambda: {1, 2, 3, 5, 6, 7} <= set(numbers(subscriber)), "the events that fit, and the report")
    wait_until(lambda: outbox.count_pending() == 0, "the acknowledgements")
    assert outbox.count_dead_letters() == 1
    reports = {each["data"]["sequence"] for each in subscriber.events if each["type"] == "vedette.broker.refused"}
    assert reports == {4}


def test_events_go_again_in_batches(broker, subscribe, run_device, wait_until):
    server = broker()
    subscriber = listen(subscribe, server)
    outbox = run_device(address(server), *(make_event(number) for number in range(20)))
    wait_until(lambda: outbox.count_pending() == 0 and len(subscriber.events) == 20, "all events")
    assert outbox.replay(6, 15) == 10
    wait_until(lambda: numbers(subscriber)[20:] == list(range(6, 16)), "those that go again")
    wait_until(lambda: outbox.count_replays() == 0, "their acknowledgements")
