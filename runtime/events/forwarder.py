"""Oldest event -> send -> acknowledged -> journal, for ever.

A thread of its own, so that neither a slow broker nor a dead one ever holds up the camera. Trouble is waited out;
the wait grows until a connection has lasted, so that a broker which accepts and then hangs up is not hammered.

What the broker will never take is a dead letter: kept, told of once for each reason, and in nobody's way. What it will
not take now ends the connection, and is tried again like all that waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import msgspec

from ..backoff import backoff
from ..monitoring.device_topics import Bulletin
from .event import Notice, cloud_event
from .outbox import Outbox, Row
from .sinks import IdentityTaken, Message, Order, Receipt, Sink
from .sinks.packet_size import framed
from .topics import Topics

log = logging.getLogger(__name__)

WINDOW = 16  # messages on their way at a time
ACKNOWLEDGE_SECONDS = 20.0  # after that the connection is taken for dead
LASTING_SECONDS = 10.0
# So many connections in a row that the broker ended so soon, each had at the first attempt: somebody else has our name.
BRIEF_SECONDS, BRIEF_TIMES = 30.0, 5
BACKOFF_MOST = 60.0
HURRY_SECONDS = 0.5
_LONG = 7  # failures in a row, for a wait of up to a minute
CLOUD_EVENTS = "application/cloudevents+json"


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from", "last": "to"}):
    """The payload of `cmd/replay`: which delivered events of which outbox are wanted again."""

    epoch: str
    first: int
    last: int


class _Busy(ConnectionError):
    """The broker is there, and takes nothing for the time being."""


class Forwarder(threading.Thread):
    """Empties the outbox into the sink."""

    def __init__(self, outbox: Outbox, sink: Sink, topics: Topics, bulletin: Bulletin | None = None) -> None:
        super().__init__(name="forwarder", daemon=True)
        self.outbox = outbox
        self.sink = sink
        self.topics = topics
        self.bulletin = bulletin
        self.stopping = threading.Event()
        self.until = float("inf")
        self.ticked = time.monotonic()
        """When this loop last turned, for the watchdog. It turns at least once a second, connected or not."""
        self.connected = False
        self.published = 0
        """Bytes of what was sent so far, as MQTT frames it."""
        self.finished = False
        """Ended as told; a thread that is gone and has not finished died of an error."""
        self.cursor = 0
        """All up to this sequence number was sent over this connection."""
        self.underway: dict[int, tuple[float, Row]] = {}
        """When each was sent that is not acknowledged yet."""
        self.complaints: set[str] = set()
        """Reasons for which the broker refused something, as told of in this connection."""

    def run(self) -> None:
        failures = brief = 0
        while not self._over():
            opened = time.monotonic()
            taken_over = busy = False
            try:
                self.sink.open()
                opened, self.connected = time.monotonic(), True
                log.info("connected to the broker, %d events wait", self.outbox.backlog())
                self._forward()
            except ConnectionError as error:
                taken_over, busy = isinstance(error, IdentityTaken), isinstance(error, _Busy)
                if self.connected or failures == 0:
                    log.warning("no connection to the broker, events wait in the outbox: %s", error)
            lasted = time.monotonic() - opened
            brief = brief + 1 if self.connected and not busy and lasted < BRIEF_SECONDS else 0
            if taken_over or brief == BRIEF_TIMES:
                failures = self._shared_name(failures)
            self.connected = False
            self.sink.close()
            failures = 0 if lasted > LASTING_SECONDS and not taken_over else failures + 1
            self._pause(backoff(failures, BACKOFF_MOST))
        self.finished = True

    def _shared_name(self, failures: int) -> int:
        """Tells that another client seems to have our name, and waits longer: two that fight for it never end."""
        if failures < _LONG:
            log.error("another client seems to have our name at the broker: has a card been copied?")
            self.outbox.tell("broker", "duplicate_identity", {})
        return _LONG

    def _forward(self) -> None:
        """Sends from the oldest on until it is told to stop; a lost connection ends it with ConnectionError."""
        self.cursor = 0
        self.underway.clear()
        self.complaints.clear()
        if self.bulletin is not None:
            self.bulletin.anew()
        while True:
            for row in self.outbox.after(self.cursor, WINDOW - len(self.underway)):
                self.cursor = row.sequence
                if row.sequence not in self.underway:
                    self._send(row)
            if self.bulletin is not None:
                for message in self.bulletin.due():
                    self._hand_over(message)
            if self._over():
                return

            came = self.sink.wait(1.0)
            self.ticked = time.monotonic()
            self._settle([each for each in came if isinstance(each, Receipt)])
            for order in came:
                if isinstance(order, Order):
                    self._obey(order)
            sent = [when for when, _ in self.underway.values()]
            if sent and time.monotonic() - min(sent) > ACKNOWLEDGE_SECONDS:
                raise ConnectionError(f"no acknowledgement in {ACKNOWLEDGE_SECONDS:.0f} s")

    def _send(self, row: Row) -> None:
        payload = cloud_event(row.event, self.topics.source, row.sequence, self.outbox.epoch, self.outbox.clock)
        topic = self.topics.event(row.event.camera, row.event.rule)
        self._hand_over(Message(topic, payload, content_type=CLOUD_EVENTS, sequence=row.sequence))
        self.underway[row.sequence] = (time.monotonic(), row)

    def _settle(self, receipts: Sequence[Receipt]) -> None:
        """What the broker took goes into the journal; what it never will take is set aside."""
        taken = [each.sequence for each in receipts if not each.refused and not each.busy]
        if taken:
            self.outbox.acknowledge(taken)
        for receipt in receipts:
            _, row = self.underway.pop(receipt.sequence, (0.0, None))
            if receipt.refused:
                log.error("the broker refuses event %d: %s", receipt.sequence, receipt.refused)
                self.outbox.refuse(receipt.sequence, receipt.refused)
                if receipt.refused not in self.complaints and row is not None and not isinstance(row.event, Notice):
                    self.complaints.add(receipt.refused)
                    self.outbox.tell("broker", "refused", {"sequence": receipt.sequence, "reason": receipt.refused})
        busy = next((each.busy for each in receipts if each.busy), None)
        if busy is not None:
            raise _Busy(f"the broker takes no events now: {busy}")

    def _obey(self, order: Order) -> None:
        """Sends again what somebody asks for, as far as the journal goes, and answers how many those are."""
        answer: dict[str, int | str]
        try:
            wanted = msgspec.json.decode(order.payload, type=Replay)
        except msgspec.DecodeError as error:
            answer = {"error": f'not of the form {{"epoch": "…", "from": 1, "to": 9}}: {error}'}
        else:
            if wanted.epoch != self.outbox.epoch:
                return  # that of another camera on this device
            answer = {"replayed": self.outbox.replay(wanted.first, wanted.last)}
            self.cursor = min(self.cursor, wanted.first - 1)
        log.info("asked to send again: %s", answer)
        if order.reply_to:
            body = msgspec.json.encode(answer)
            message = Message(order.reply_to, body, content_type="application/json", correlation=order.correlation)
            self._hand_over(message)

    def _hand_over(self, message: Message) -> None:
        self.sink.send(message)
        self.published += framed(message)

    def _pause(self, seconds: float) -> None:
        """Waits, but only HURRY_SECONDS once the daemon is ending: what is left of its time goes into trying."""
        began = time.monotonic()
        while not self._over():
            self.ticked = time.monotonic()
            if self.ticked - began >= (min(seconds, HURRY_SECONDS) if self.stopping.is_set() else seconds):
                return
            time.sleep(0.1)

    def _over(self) -> bool:
        """Told to stop, and either nothing is left to send or the time for it is up."""
        return self.stopping.is_set() and (time.monotonic() > self.until or not self.outbox.backlog())

    def drain(self, seconds: float) -> None:
        """Sends what it can in `seconds`, then ends; the rest stays in the outbox for the next start."""
        self.until = time.monotonic() + seconds
        self.stopping.set()
        self.sink.wake()
        self.join()
