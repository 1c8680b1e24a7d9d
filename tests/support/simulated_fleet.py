"""Simulated boxes in one thread, at a real broker: real topics, real orders, made-up installations and faults.

Each box has the handlers of the product with its keyring and its memory of orders in a folder. Some have the real store
of models, too. What happens after an installation is made up: the probation ends after a moment, or a fault shows.
Configurations are changed by the product's own program, in real files; only what a daemon would say to them, and how
it then runs, is made up.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from vedette.deploy.setup import configuration_change, request_applier
from vedette.deploy.setup.configuration_change import ChangeFailed
from vedette.deploy.setup.request_applier import RequestApplier
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.clock import Clock
from vedette.runtime.config.configuration import Config, load_config
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.events.sinks import Command
from vedette.runtime.installation.configuration.change_requests import request_change
from vedette.runtime.installation.configuration.configuration_handler import ConfigurationHandler
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.orders.installed_products import InstalledProduct, describe_products
from vedette.runtime.installation.orders.order import Order
from vedette.runtime.installation.orders.order_handler import OrderHandler, Report
from vedette.runtime.installation.orders.order_memory import Known, OrderMemory
from vedette.runtime.installation.probation_record import Probation, ProbationRecord

FAULTS = ("install", "probation", "crash", "gone", "flood")
PREFIX, PRODUCT = "vedette", "weave"
PROBATION_SECONDS = 0.5
CAMERA_FILE = f'source = "file:none"\nbundle = "installed:{PRODUCT}"\n[[rules]]\nuse = "presence"\n'


def write_configuration(folder: Path) -> Config:
    """The configuration of a box with the camera `door`."""
    (folder / "cameras").mkdir(parents=True)
    (folder / "state").mkdir()
    (folder / "vedette.toml").write_text('[device]\nname = "box"\n')
    (folder / "cameras" / "door.toml").write_text(CAMERA_FILE)
    return load_config(folder, "door")


@contextlib.contextmanager
def patched_checks(check: Callable[..., None]) -> Iterator[None]:
    """The checks of requests happen in this thread, and `check` stands for the daemon's."""
    with (
        patch.object(request_applier, "_check_as_service", check),
        patch.object(request_applier, "read_without_root", lambda read: read()),
        patch.object(configuration_change, "_interruptible", contextlib.nullcontext),  # signals need the main thread
    ):
        yield


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
        settings = write_configuration(folder / "etc")
        self.file = settings.camera_file
        self.configuration = ConfigurationHandler(
            place, settings, PRODUCT, lambda: fleet.keyring, Clock(), self._answer, self._ask
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
        if not self.is_new():
            return
        if self.fault == "probation" and self.release != 1:
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
        if not self.is_new():
            return
        self.cut()
        self.fleet.later(0.4, self.connect)
        if times > 1:
            self.fleet.later(0.8, lambda: self.crash(times - 1))

    # Configurations.

    def _ask(self, *arguments: Any, **more: Any) -> str:
        self.fleet.later(0.1, self._apply)
        return request_change(*arguments, **more | {"folder": None})

    def _apply(self) -> None:
        calls = []

        def restart(*_: object) -> list[str]:
            calls.append(1)
            if self.fault == "probation" and len(calls) == 1 and self.is_new():
                raise ChangeFailed("the daemon does not run; the file from before is back")
            return []

        def check(*_: object) -> None:
            if self.fault == "install":
                raise ConfigProblem("rules: no label scratch")

        with patched_checks(check):
            RequestApplier(self.file.parent.parent, 0, restart).apply_all()
        self.configuration.recover()
        if self.is_new():
            self.installations += 1
            self.fleet.later(PROBATION_SECONDS, self._show_fault)

    def level(self) -> int | None:
        """The release that runs; 2 also if the configuration is a new one."""
        return 2 if self.file.read_text() != CAMERA_FILE else self.current(PRODUCT)

    def is_new(self) -> bool:
        """Whether it runs anything but what it began with."""
        return self.release != 1 or self.file.read_text() != CAMERA_FILE

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
        self.configuration.recover()

    def _publish(self, level: str, payload: bytes, *, retain: bool = True) -> None:
        if self.client is not None:
            self.client.publish(f"{self.root}/{level}", payload, 1, retain)
            self.flush()

    def _take(self, _client: Client, _data: object, message: Any) -> None:
        reply = getattr(message.properties, "ResponseTopic", "")
        handler = self.configuration if message.topic.endswith("/configure") else self.handler
        handler.handle(Command(bytes(message.payload), reply, topic=message.topic))

    def _answer(self, source: Command | Known[Any], report: Report) -> None:
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
