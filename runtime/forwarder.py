"""Oldest event -> send -> acknowledged -> deleted, for ever.

A thread of its own, so that neither a slow broker nor a dead one ever holds up the camera. Trouble is waited out with
full jitter (Brooker, "Exponential Backoff And Jitter", 2015), so that a hall of boxes does not come back in step; the
wait grows until a connection has lasted, so that a broker which accepts and then hangs up is not hammered.
"""

from __future__ import annotations

import logging
import random
import threading
import time

from .event import cloud_event
from .outbox import Outbox
from .sinks import Message, Sink
from .topics import Topics

log = logging.getLogger(__name__)

WINDOW = 16  # messages on their way at a time
ACKNOWLEDGE_SECONDS = 20.0  # after that the connection is taken for dead
LASTING_SECONDS = 10.0
BACKOFF_FIRST, BACKOFF_MOST = 0.5, 60.0
HURRY_SECONDS = 0.5
CLOUD_EVENTS = "application/cloudevents+json"


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: anything up to a bound that doubles each time, to a point."""
    doublings = min(failures, 16)  # far beyond the bound, and it fails for weeks where nobody mends the network
    return random.uniform(0, min(BACKOFF_MOST, BACKOFF_FIRST * 2**doublings))  # noqa: S311


class Forwarder(threading.Thread):
    """Empties the outbox into the sink."""

    def __init__(self, outbox: Outbox, sink: Sink, topics: Topics) -> None:
        super().__init__(name="forwarder", daemon=True)
        self.outbox = outbox
        self.sink = sink
        self.topics = topics
        self.stopping = threading.Event()
        self.until = float("inf")
        self.ticked = time.monotonic()
        """When this loop last turned, for the watchdog. It turns at least once a second, connected or not."""
        self.connected = False
        self.finished = False
        """Ended as told; a thread that is gone and has not finished died of an error."""

    def run(self) -> None:
        failures = 0
        while not self._over():
            opened = time.monotonic()
            try:
                self.sink.open()
                self.connected = True
                log.info("connected to the broker, %d events wait", self.outbox.backlog())
                self._forward()
            except ConnectionError as error:
                if self.connected or failures == 0:
                    log.warning("no connection to the broker, events wait in the outbox: %s", error)
            self.connected = False
            self.sink.close()
            failures = 0 if time.monotonic() - opened > LASTING_SECONDS else failures + 1
            self._pause(backoff(failures))
        self.finished = True

    def _forward(self) -> None:
        """Sends from the oldest on until it is told to stop; a lost connection ends it with ConnectionError."""
        cursor = 0
        underway: dict[int, float] = {}
        while True:
            for row in self.outbox.after(cursor, WINDOW - len(underway)):
                payload = cloud_event(row.event, self.topics.source, row.sequence, self.outbox.epoch)
                topic = self.topics.event(row.event.camera, row.event.rule)
                self.sink.send(Message(topic, payload, content_type=CLOUD_EVENTS, sequence=row.sequence))
                underway[row.sequence] = time.monotonic()
                cursor = row.sequence
            if self._over():
                return

            receipts = self.sink.wait(1.0)
            self.ticked = time.monotonic()
            taken = [each.sequence for each in receipts if not each.refused]
            if taken:
                self.outbox.acknowledge(taken)
            for receipt in receipts:
                underway.pop(receipt.sequence, None)
                if receipt.refused:
                    log.error("the broker refuses event %d: %s", receipt.sequence, receipt.refused)
                    self.outbox.refuse(receipt.sequence, receipt.refused)
            if underway and time.monotonic() - min(underway.values()) > ACKNOWLEDGE_SECONDS:
                raise ConnectionError(f"no acknowledgement in {ACKNOWLEDGE_SECONDS:.0f} s")

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
