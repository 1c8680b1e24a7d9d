"""Orders in the daemon: a thread of their own obeys them, so that neither frames nor events wait for one.

    cmd/install    a signed order (order.py); the answers go to its response topic below the device's `res/`
    cmd/piece      a piece of a bundle that the box asked for (bundle_pieces.py)
    cmd/configure  a signed order that changes this camera's file (configuration/configuration_order.py)
    info/CAMERA    the retained message gets the fields `products` and `configuration`, again at each change

Whoever may publish commands must not be able to stop the device or to delay its events. So the forwarder only puts a
payload into a short queue, at most MAX_ORDERS_A_SECOND; what finds it full is dropped. Retained commands are ignored.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from functools import partial
from typing import Any

import msgspec

from ...bundle.keys import Keyring
from ...config.configuration import Config
from ...errors import Problem
from ...events.commands import CommandLimit, make_answer
from ...events.outbox import Outbox
from ...events.sinks import Command, Message, MqttSessionSettings, Sink
from ...events.topics import Topics
from ..configuration.configuration_handler import ConfigurationHandler, digest_file
from ..configuration.configuration_order import COMMAND
from ..configuration.result_events import ResultEvents
from ..model_store import ModelStore
from .bundle_pieces import PieceReceiver
from .installed_products import InstalledProduct, ProductInfo, describe_products
from .order_execution import DeviceExecutor
from .order_handler import OrderHandler, Report
from .order_memory import Known, OrderMemory

log = logging.getLogger(__name__)

MAX_WAITING = 4
MAX_ORDERS_A_SECOND = 5
CHECK_SECONDS, BUSY_SECONDS = 5.0, 1.0
REFUSAL_SECONDS = 600.0
"""A refused order becomes an event at most so often: a flood of them must not fill the outbox."""


class OrderDesk:
    """Takes orders for one daemon.

    Args:
        settings: configuration of the camera
        session: MQTT identity of the daemon, with the retained message `info`
        outbox: takes events about orders
        sink: is woken when an answer waits
    """

    def __init__(self, settings: Config, session: MqttSessionSettings, outbox: Outbox, sink: Sink) -> None:
        self.outbox, self.sink, self.topics = outbox, sink, Topics.from_config(settings)
        device, camera = settings.device, settings.camera
        place = "/".join((device.site, device.area, device.line, device.name))
        self.pieces = PieceReceiver()
        self.store = ModelStore(settings.state)
        self.handler = OrderHandler(
            place,
            partial(Keyring.read, settings.keys),
            OrderMemory(settings.state),
            DeviceExecutor(settings, self.pieces),
            outbox.clock,
            self._answer,
            self._record,
        )
        self.info = next((each for each in session.birth_messages if each.topic == self.topics.info(camera)), None)
        self.configuration = ConfigurationHandler(
            place, settings, self._product(), partial(Keyring.read, settings.keys), outbox.clock, self._answer
        )
        self.results = ResultEvents(settings.state, camera)
        self.digest = digest_file(settings)
        self.products: dict[str, InstalledProduct] = {}
        self.waiting = queue.Queue[Command | None](MAX_WAITING)
        self.stopping = threading.Event()
        self.messages = deque[Message](maxlen=64)
        self.limit = CommandLimit(MAX_ORDERS_A_SECOND)
        self.last_refusal = float("-inf")
        self.thread: threading.Thread | None = None

    def reset(self) -> None:
        """Starts the thread, if it does not run yet; makes the message `info` pending again."""
        self._put_info()
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, name="orders", daemon=True)
            self.thread.start()

    def take(self, command: Command) -> None:
        """Takes a command. Never blocks, never raises."""
        if command.retained:
            return
        if command.topic == self.topics.command("piece"):
            self.pieces.take(command.payload)
            return
        known = (self.topics.command("install"), self.topics.command(COMMAND))
        if command.topic not in known or self.waiting.full() or not self.limit.take():
            log.debug("a command was ignored: unknown, or one of too many")
            return
        self.waiting.put_nowait(command)

    def close(self) -> None:
        """Ends the thread after the order that it obeys."""
        self.stopping.set()
        with contextlib.suppress(queue.Full):
            self.waiting.put_nowait(None)

    def pending_messages(self) -> list[Message]:
        """The messages to publish now."""
        messages = []
        while self.messages:
            messages.append(self.messages.popleft())
        return messages

    def _run(self) -> None:
        last_check = float("-inf")
        while not self.stopping.is_set():
            try:
                pause = BUSY_SECONDS if self.configuration.is_busy else CHECK_SECONDS
                if time.monotonic() - last_check >= pause:
                    last_check = time.monotonic()
                    self.handler.recover()
                    self.configuration.recover()
                    self._record_results()
                    self._refresh_info()
                command = self.waiting.get(timeout=pause)
                if command is not None and not self._handle(command):
                    self._record_refusal()
                self._refresh_info()
            except queue.Empty:
                continue
            except Problem as problem:
                log.warning("orders: %s", problem.message)
            except Exception:
                log.exception("an order could not be handled")

    def _handle(self, command: Command) -> bool:
        is_for_camera = command.topic == self.topics.command(COMMAND)
        return self.configuration.handle(command) if is_for_camera else self.handler.handle(command)

    def _product(self) -> str:
        """The product that the camera runs, by the message `info`."""
        return msgspec.json.decode(self.info.payload, type=ProductInfo).model.split(":")[0] if self.info else ""

    def _answer(self, source: Command | Known[Any], report: Report) -> None:
        if (answer := make_answer(self.topics, source.reply_to, source.correlation, report)) is not None:
            self._put(answer)

    def _record(self, kind: str, facts: dict[str, Any]) -> None:
        self.outbox.put_system_event("fleet", kind, facts)
        self.sink.wake()

    def _record_results(self) -> None:
        for kind, facts in self.results.check():
            self.outbox.put_system_event("config", kind, facts)
            self.sink.wake()

    def _record_refusal(self) -> None:
        if time.monotonic() - self.last_refusal >= REFUSAL_SECONDS:
            self.last_refusal = time.monotonic()
            self._record("refused", {"hint": "the log of the daemon has the reasons"})

    def _refresh_info(self) -> None:
        products = describe_products(self.store)
        if products != self.products:
            self.products = products
            self._put_info()

    def _put_info(self) -> None:
        if self.info is not None and (self.products or self.digest):
            info = msgspec.json.decode(self.info.payload, type=ProductInfo)
            info = msgspec.structs.replace(
                info, products=self.products or msgspec.UNSET, configuration=self.digest or msgspec.UNSET
            )
            self._put(msgspec.structs.replace(self.info, payload=msgspec.json.encode(info)))

    def _put(self, message: Message) -> None:
        self.messages.append(message)
        self.sink.wake()
