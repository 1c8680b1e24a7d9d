"""The forwarder of one receiver: a thread that delivers what waits for it in the outbox, oldest first.

    collect     events that the receiver wants are added to its next delivery; the others count as settled
    deliver     when the delivery is due; if it fails, the same delivery is tried again after a back-off
    settle      accepted events leave the queue, refused ones become dead letters

If an event is answered with an error each time, the next one is tried. If that is accepted, the first is a dead letter.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

import msgspec

from ..backoff import backoff_seconds
from .event import SystemEvent
from .outbox import Outbox, SequencedEvent
from .receivers import DeliveryFailed, Receiver
from .sink_queue import SinkQueue
from .sinks import Acknowledgement

log = logging.getLogger(__name__)

MAX_BACKOFF_SECONDS = 60.0
PROBE_FAILURES = 5  # failures in a row after which the next event is tried
_READ_ROWS = 16
_IDLE_SECONDS = 1.0


class SinkFigures(msgspec.Struct, frozen=True):
    """State of a sink beside the broker, part of the daemon's report."""

    name: str
    connected: bool
    """False: the last delivery failed."""
    backlog: int
    """Events that wait for it."""
    dead: int
    """Events that it refuses: dead letters."""
    delivered: int
    """Events that it has accepted since the start."""
    trouble: str = ""
    """Why the last delivery failed."""


class ReceiverForwarder(threading.Thread):
    """The thread that delivers events from the outbox to a receiver.

    Args:
        outbox: knows the sink
        sink: the sink's name
        receiver: gets the events
    """

    def __init__(self, outbox: Outbox, sink: str, receiver: Receiver) -> None:
        super().__init__(name=f"sink {sink}", daemon=True)
        self.outbox, self.sink, self.receiver = outbox, sink, receiver
        self.queue = SinkQueue(outbox, sink)
        self.trouble, self.delivered, self.finished = "", 0, False
        self.woken, self.stopping = threading.Event(), threading.Event()
        self.deadline = float("inf")
        self.lock, self.abandoned = threading.Lock(), False
        """Once it is abandoned, the thread touches the outbox no more."""
        self.position = 0
        """All events up to this number were read."""
        self.ahead = deque[SequencedEvent]()
        """Events that were read, and neither added nor skipped so far."""
        self.added: dict[int, bool] = {}
        """Events of the next delivery, and whether each is about the device itself."""
        self.skipped: list[int] = []
        """Events that the receiver does not want."""
        self.probed: tuple[int, str] | None = None
        """The event that fails each time, with the reason, while the next one is tried."""
        self.failures = 0
        self.due = 0.0
        """When the next delivery may begin, by time.monotonic()."""
        self.reported: set[str] = set()

    def run(self) -> None:
        interval, last = self.receiver.interval, self.queue.last_delivery()
        if last is not None:
            waited = self.outbox.clock.wall_time() - last
            self.due = time.monotonic() + min(max(interval - waited, 0.0), interval)
        while not self._is_finished():
            with self.lock:
                if self.abandoned:
                    break
                self._collect()
            seconds = self.due - time.monotonic()
            if not self.added or seconds > 0:
                self.woken.wait(_IDLE_SECONDS if not self.added else min(seconds, _IDLE_SECONDS))
                self.woken.clear()
                continue
            try:
                answers = self.receiver.deliver()
            except DeliveryFailed as failure:
                self._handle_failure(failure)
                continue
            with self.lock:
                if self.abandoned:
                    break
                self._settle(answers)
        self.receiver.close()
        self.finished = True

    def _collect(self) -> None:
        """Adds waiting events to the next delivery until it is full."""
        while True:
            if not self.ahead:
                self._settle_skipped()
                rows = self.queue.read_after(self.position, _READ_ROWS)
                if not rows:
                    break
                self.ahead.extend(rows)
                self.position = rows[-1].sequence
            row = self.ahead[0]
            if not self.receiver.wants(row.event):
                self.skipped.append(row.sequence)
            elif self.receiver.add(row):
                self.added[row.sequence] = isinstance(row.event, SystemEvent)
            else:
                return
            self.ahead.popleft()
        if self.probed is not None and not self.added:  # there is no other event to try
            self._end_probe()

    def _settle_skipped(self) -> None:
        """Settles unwanted events, unless one before them waits: then they are settled with it."""
        if self.skipped and not self.added and self.probed is None:
            self.queue.acknowledge(self.skipped)
            self.skipped.clear()

    def _settle(self, answers: list[Acknowledgement]) -> None:
        if self.trouble:
            log.info("the sink %s takes events again", self.sink)
        self.trouble, self.failures = "", 0
        self.due = time.monotonic() + self.receiver.interval
        accepted = [each.sequence for each in answers if not each.refused]
        self.queue.acknowledge([*accepted, *self.skipped], self.outbox.clock.wall_time() if accepted else None)
        self.delivered += len(accepted)
        for each in answers:
            if each.refused:
                self._refuse(each.sequence, each.refused, self.added.get(each.sequence, True))
        self.skipped.clear()
        self.added.clear()
        if self.probed is not None and not accepted:
            self._end_probe()
        elif self.probed is not None:
            self._refuse(*self.probed, is_system=False)
            self.probed = None

    def _refuse(self, sequence: int, reason: str, is_system: bool) -> None:
        """Makes an event a dead letter, and reports each kind of reason once."""
        log.error("the sink %s refuses event %d: %s", self.sink, sequence, reason)
        self.queue.mark_dead_letter(sequence, reason)
        kind = reason.partition(":")[0]
        if kind not in self.reported and not is_system:
            self.reported.add(kind)
            self.outbox.put_system_event("sink", "refused", {"sink": self.sink, "sequence": sequence, "reason": reason})

    def _handle_failure(self, failure: DeliveryFailed) -> None:
        if str(failure) != self.trouble:
            log.warning("the sink %s: %s; its events stay in the outbox", self.sink, failure)
        self.trouble = str(failure)
        self.failures += 1
        seconds = max(backoff_seconds(self.failures, MAX_BACKOFF_SECONDS), failure.retry_after)
        self.due = time.monotonic() + seconds
        if self.probed is not None:
            self._end_probe()
        elif failure.answered and self.failures % PROBE_FAILURES == 0 and len(self.added) == 1:
            (sequence,) = self.added
            self.probed = (sequence, f"{failure}: each time, while other events are accepted")
            self.receiver.clear()
            self.added.clear()

    def _end_probe(self) -> None:
        """Goes back to the event that failed."""
        self.probed, self.position = None, 0
        self.ahead.clear()
        self.receiver.clear()
        self.added.clear()
        self.skipped.clear()

    def _is_finished(self) -> bool:
        """True while draining if nothing waits that may still be delivered."""
        if not self.stopping.is_set():
            return False
        is_late = max(time.monotonic(), self.due) > self.deadline
        return is_late or not self.queue.count_pending()

    def figures(self) -> SinkFigures:
        """The state of the sink. Any thread may call it."""
        pending, dead = self.queue.count_pending(), self.queue.count_dead_letters()
        return SinkFigures(self.sink, not self.trouble, pending, dead, self.delivered, self.trouble)

    def wake(self) -> None:
        """Makes the thread look for new events now."""
        self.woken.set()

    def stop(self, seconds: float) -> None:
        """Makes the thread end when nothing waits, or after `seconds`."""
        self.deadline = time.monotonic() + seconds
        self.stopping.set()
        self.wake()

    def wait_for_end(self) -> None:
        """Waits for the thread, but not for a delivery that takes longer than it may: that one is made again."""
        self.join(max(self.deadline - time.monotonic(), 0.0) + _IDLE_SECONDS)
        with self.lock:
            self.abandoned = True
        self.finished = self.finished or self.is_alive()
