"""Simulated boxes in one thread, at a real broker: real topics, real orders, made-up installations and faults.

Each box has the handler of the product with its keyring and its memory of orders in a folder. Some have the real store
of models, too. What happens after an installation is made up: the probation ends after a moment, or a fault shows.
"""

from __future__ import annotations

import heapq
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.clock import Clock
from vedette.runtime.errors import MachineProblem
from vedette.runtime.events.sinks import Command
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.orders.installed_products import InstalledProduct, describe_products
from vedette.runtime.installation.orders.order import Order
from vedette.runtime.installation.orders.order_handler import OrderHandler, Report
from vedette.runtime.installation.orders.order_memory import KnownOrder, OrderMemory
from vedette.runtime.installation.probation_record import Probation, ProbationRecord

FAULTS = ("install", "probation", "crash", "gone", "flood")
PREFIX, PRODUCT = "vedette", "weave"
PROBATION_SECONDS = 0.5


class SimulatedBox:
    """One box with one camera."""

    def __init__(self, fleet: SimulatedFleet, place: str, fault: str, folder: Path, *, real_store: bool) -> None:
        self.fleet, self.place, self.fault = fleet, place, fault
        self.root = f"{PREFIX}/v1/{place}"
        self.release, self.previous, self.probation = 1, 0, ""
        self.installations = 0
        self.store = ModelStore(folder) if real_store else None
        if self.store is not None:
            self.store.add(PRODUCT, 1, b"release 1")
            self.store.switch(PRODUCT, 1)
        self.handler = OrderHandler(
            place, lambda: fleet.keyring, OrderMemory(folder), self, Clock(), self._answer, lambda *_: None
        )
        self.client: Client | None = None
        self.stream: socket.socket | None = None

    # The executor of the handler.

    def check(self, order: Order) -> None:
        assert order.product == PRODUCT

    def current(self, product: str) -> int | None:
        return self.release if self.store is None else self.store.find_model(product).current

    def execute(self, order: Order, lock: int, report: Callable[[str, list[int]], None]) -> str:
        if order.action == "rollback":
            if self.current(PRODUCT) == order.release:
                self._leave()
                self.fleet.later(0.1, self.say)
            return ""
        report("fetching", [])
        if self.fault == "install":
            raise MachineProblem("the golden outputs are not reproduced")
        self.installations += 1
        self.previous, self.release, self.probation = self.release, order.release, "running"
        if self.store is not None:
            ProbationRecord(self.store, PRODUCT).begin(Probation(release=order.release, previous=self.previous))
            self.store.add(PRODUCT, order.release, b"release 2")
            self.store.switch(PRODUCT, order.release)
        self.fleet.later(PROBATION_SECONDS, self._show_fault)
        return ""

    def _leave(self) -> None:
        if self.store is not None:
            self.store.roll_back(PRODUCT)
        self.release, self.previous, self.probation = self.previous, 0, "rolled back"

    def _show_fault(self) -> None:
        if self.release == 1:
            return
        if self.fault == "probation":
            if self.store is not None:
                ProbationRecord(self.store, PRODUCT).roll_back("it decides differently on 40% of 100 frames")
            self.release, self.probation = self.previous, "rolled back"
            self.say()
        elif self.fault == "crash":
            self.crash(5)
        elif self.fault == "gone":
            self.cut()
        else:
            self.say(events=100_000 if self.fault == "flood" else 120)
            self.fleet.later(PROBATION_SECONDS, self._accept)

    def _accept(self) -> None:
        if self.release != 1 and self.probation == "running":
            self.probation = "accepted"
            if self.store is not None:
                ProbationRecord(self.store, PRODUCT).note_passed("door", ["door"])
            self.say()

    def crash(self, times: int) -> None:
        """The daemon ends and starts again, so many times."""
        if self.release == 1:
            return
        self.cut()
        self.fleet.later(0.4, self.connect)
        if times > 1:
            self.fleet.later(0.8, lambda: self.crash(times - 1))

    # The broker.

    def connect(self) -> None:
        client = Client(
            CallbackAPIVersion.VERSION2, f"sim-{self.place.replace('/', '-')}", protocol=MQTTProtocolVersion.MQTTv5
        )
        client.will_set(f"{self.root}/availability/door", b"offline", 1, True)
        client.on_connect = lambda *_: self._greet()
        client.on_message = self._take
        client.connect("127.0.0.1", self.fleet.port, keepalive=600)
        self.client, self.stream = client, client.socket()
        self.fleet.selector.register(self.stream, selectors.EVENT_READ, self)

    def cut(self) -> None:
        """The connection dies without a farewell."""
        if self.stream is not None:
            self.fleet.selector.unregister(self.stream)
            self.stream.close()
            self.client = self.stream = None

    def serve(self) -> None:
        assert self.client is not None
        self.client.loop_read()
        self.flush()

    def flush(self) -> None:
        while self.client is not None and self.client.want_write():
            self.client.loop_write()

    def say(self, events: int = 120) -> None:
        """The retained messages: 120 events in an hour are 2 a minute."""
        if self.store is not None:
            products: Any = describe_products(self.store)
        elif self.probation:
            watched = max(self.release, self.previous, 2)
            products = {
                PRODUCT: InstalledProduct(self.release, self.previous or None, self.probation, watched, "made up")
            }
        else:
            products = {PRODUCT: InstalledProduct(self.release)}
        info = {"camera": "door", "model": f"{PRODUCT}:{self.release}:0f9c2ab1", "runtime": "0", "products": products}
        self._publish("info/door", msgspec.json.encode(info))
        stats = {"events": events, "uptime_seconds": 3600.0, "latency_ms": {"p95": 20.0}, "faults": []}
        self._publish("stats/door", json.dumps(stats).encode())

    def _greet(self) -> None:
        assert self.client is not None
        self.client.subscribe(f"{self.root}/cmd/+", 1)
        self._publish("availability/door", b"online")
        self.say()
        self.handler.recover()

    def _publish(self, level: str, payload: bytes, *, retain: bool = True) -> None:
        if self.client is not None:
            self.client.publish(f"{self.root}/{level}", payload, 1, retain)
            self.flush()

    def _take(self, _client: Client, _data: object, message: Any) -> None:
        reply = getattr(message.properties, "ResponseTopic", "")
        self.handler.handle(Command(bytes(message.payload), reply, topic=message.topic))

    def _answer(self, source: Command | KnownOrder, report: Report) -> None:
        if self.client is not None and source.reply_to.startswith(f"{self.root}/res/"):
            self.client.publish(source.reply_to, msgspec.json.encode(report), 1)
            self.flush()


class SimulatedFleet:
    """Boxes on three lines, in one thread.

    Args:
        port: of the broker
        keyring: that the boxes trust
        folder: state of the boxes
        faults: number of the box to its fault
        count: number of boxes
        real: so many of them have the real store
    """

    def __init__(
        self, port: int, keyring: Keyring, folder: Path, faults: dict[int, str], count: int, real: int = 3
    ) -> None:
        self.port, self.keyring = port, keyring
        self.selector = selectors.DefaultSelector()
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.made = 0
        self.stopping = threading.Event()
        self.requests: list[Callable[[], None]] = []
        self.boxes = {}
        for number in range(count):
            place = f"plant/hall/line{number % 3}/box{number:04d}"
            fault = faults.get(number, "")
            self.boxes[place] = SimulatedBox(self, place, fault, folder / str(number), real_store=number < real)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self.made += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self.made, action))

    def run(self) -> None:
        for box in self.boxes.values():
            box.connect()
        while not self.stopping.is_set():
            while self.requests:
                self.requests.pop()()
            while self.timers and self.timers[0][0] <= time.monotonic():
                heapq.heappop(self.timers)[2]()
            wait = self.timers[0][0] - time.monotonic() if self.timers else 0.1
            for key, _ in self.selector.select(min(max(wait, 0.0), 0.1)):
                key.data.serve()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join(30)
        for box in self.boxes.values():
            box.cut()
