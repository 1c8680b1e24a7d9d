"""The forwarder: it sends pending events to the sink, oldest first, and moves acknowledged ones to the journal.

It runs in its own thread, so that a slow or dead broker never blocks the camera. After a connection failure it
reconnects with back-off. The back-off is reset only after a stable connection, so that a broker that accepts and then
disconnects is not flooded.

An event that the broker refuses permanently becomes a dead letter: it stays in the outbox, a system event reports each
reason once, and later events are not blocked. A temporary refusal ends the connection, and the event is sent again.
With batches (batch_collector.py) an event leaves the outbox when the broker has acknowledged the batch that holds it;
the events of a batch that it refuses are sent again, each alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from ..backoff import backoff_seconds
from ..config.batch_table import BatchSettings
from .batch_collector import BatchCollector, OutgoingEvents
from .cloud_event import CLOUD_EVENTS_TYPE, encode_cloud_event
from .disconnect_causes import DisconnectCauses
from .event import SystemEvent
from .outbox import Outbox, SequencedEvent
from .periodic_messages import CommandHandler, PeriodicMessages
from .replay import MAX_REPLAYS_IN_FLIGHT, Replay
from .sent_messages import SentMessages
from .sinks import Acknowledgement, Command, LoginRefused, Message, MessageRefused, SessionTakenOver, Sink
from .sinks.packet_size import packet_bytes
from .topics import Topics

log = logging.getLogger(__name__)

ACKNOWLEDGE_SECONDS = 20.0  # without an acknowledgement for so long, the connection counts as dead
STABLE_CONNECTION_SECONDS = 10.0  # a longer connection resets the back-off
# So many consecutive connections that ended so early indicate another client with the same client ID.
SHORT_CONNECTION_SECONDS, MAX_SHORT_CONNECTIONS = 30.0, 5
MAX_BACKOFF_SECONDS = 60.0
DRAIN_RETRY_SECONDS = 0.5
_LONG_BACKOFF_FAILURES = 7  # failures for a back-off of up to a minute


class _BrokerBusy(ConnectionError):
    """The broker is connected, but temporarily refuses events."""


class Forwarder(threading.Thread):
    """The thread that sends events from the outbox to the sink."""

    def __init__(
        self,
        outbox: Outbox,
        sink: Sink,
        topics: Topics,
        periodic_messages: PeriodicMessages | None = None,
        commands: CommandHandler | None = None,
        batch: BatchSettings | None = None,
    ) -> None:
        super().__init__(name="forwarder", daemon=True)
        self.outbox = outbox
        self.sink = sink
        self.topics = topics
        self.periodic_messages = [each for each in (periodic_messages, commands) if each is not None]
        self.commands = commands
        self.replay = Replay(outbox, topics)
        self.stopping = threading.Event()
        self.deadline = float("inf")
        self.last_iteration = time.monotonic()
        """Time of the last loop iteration, for the watchdog. There is one at least every second, connected or not."""
        self.connected = self.login_refused = False
        self.published_bytes = 0
        """Bytes sent so far, with MQTT framing."""
        self.finished = False
        """True after an orderly end; a thread that is not alive and not finished died of an error."""
        self.cursor = 0
        """All events up to this sequence number were sent over this connection."""
        self.collector = BatchCollector(batch or BatchSettings(), topics.batch(outbox.camera))
        self.in_flight = SentMessages(self.collector)
        self.causes = DisconnectCauses()
        self.reported_reasons: set[str] = set()
        """Reasons for refusals that were reported during this connection."""

    def run(self) -> None:
        failures = short_connections = 0
        while not self._is_finished():
            opened = time.monotonic()
            taken_over = busy = refused = False
            try:
                self.sink.open()
                opened, self.connected = time.monotonic(), True
                log.info("connected to the broker, %d events pending", self.outbox.count_pending())
                self._forward()
            except ConnectionError as error:
                taken_over, busy = isinstance(error, SessionTakenOver), isinstance(error, _BrokerBusy)
                # A connection that never came about says nothing about the events of the one before.
                refused = self.connected and not taken_over and not busy and self._find_cause(error)
                login_was_refused, self.login_refused = self.login_refused, isinstance(error, LoginRefused)
                if self.connected or failures == 0 or login_was_refused != self.login_refused:
                    log.warning("no connection to the broker, events stay in the outbox: %s", error)
            duration = time.monotonic() - opened
            is_short = self.connected and not busy and not refused and duration < SHORT_CONNECTION_SECONDS
            short_connections = short_connections + 1 if is_short else 0
            if taken_over or short_connections == MAX_SHORT_CONNECTIONS:
                failures = self._report_duplicate_identity(failures)
            self.connected = False
            self.sink.close()
            failures = 0 if duration > STABLE_CONNECTION_SECONDS and not taken_over else failures + 1
            self._wait(backoff_seconds(failures, MAX_BACKOFF_SECONDS))
        self.finished = True

    def _find_cause(self, error: ConnectionError) -> bool:
        """Makes the event a dead letter that ended the connection, if it is known; returns whether one event did."""
        refusal = str(error) if isinstance(error, MessageRefused) else ""
        cause = self.causes.find(self.in_flight.sizes(), refusal)
        if cause is not None:
            self._refuse(*cause, is_connected=False)
        return bool(refusal) or cause is not None

    def _report_duplicate_identity(self, failures: int) -> int:
        """Reports that another client seems to use the same client ID; returns the failure count for a long back-off.

        Without it, two clients would disconnect each other all the time.
        """
        if failures < _LONG_BACKOFF_FAILURES:
            log.error("another client seems to use the same client ID at the broker: was an SD card copied?")
            self.outbox.put_system_event("broker", "duplicate_identity", {})
        return _LONG_BACKOFF_FAILURES

    def _forward(self) -> None:
        """Sends events, oldest first, until stopped. Raises ConnectionError if the connection is lost."""
        self.cursor = 0
        self.in_flight.clear()
        self.collector.clear()
        self.replay.reset()
        self.reported_reasons.clear()
        for periodic in self.periodic_messages:
            periodic.reset()
        while True:
            room = self.in_flight.room(self.causes.one_at_a_time)
            rows = self.outbox.read_after(self.cursor, room)
            for row in rows:
                self.cursor = row.sequence
                self._send(row)
            if not rows and not self.stopping.is_set():
                for row in self.replay.next_events(min(room, MAX_REPLAYS_IN_FLIGHT - self.in_flight.count_events())):
                    self._send(row, replayed=True)
            at_once = self.stopping.is_set() or not self.in_flight.room(self.causes.one_at_a_time)
            self._publish(self.collector.take() if at_once else self.collector.take_due(time.monotonic()))
            for message in (each for periodic in self.periodic_messages for each in periodic.pending_messages()):
                self._send_message(message)
            if self._is_finished():
                return

            until_due = max(min(self.collector.seconds_left(time.monotonic()), 1.0), 0.0)
            received = self.sink.wait(self.replay.seconds_until_next(until_due))
            self.last_iteration = time.monotonic()
            self._process_acknowledgements([each for each in received if isinstance(each, Acknowledgement)])
            for command in (each for each in received if isinstance(each, Command)):
                self._obey(command)
            if self.in_flight.is_overdue(ACKNOWLEDGE_SECONDS):
                raise ConnectionError(f"no acknowledgement in {ACKNOWLEDGE_SECONDS:.0f} s")

    def _obey(self, command: Command) -> None:
        if command.topic not in ("", self.topics.replay()):
            if self.commands is not None:
                self.commands.take(command)
        elif (answer := self.replay.answer(command)) is not None:
            self._send_message(answer)

    def _send(self, row: SequencedEvent, replayed: bool = False) -> None:
        payload = encode_cloud_event(row.event, self.topics.source, row.sequence, self.outbox.epoch, self.outbox.clock)
        topic = self.topics.event(row.event.camera, row.event.rule)
        message = Message(topic, payload, content_type=CLOUD_EVENTS_TYPE, sequence=row.sequence, replayed=replayed)
        self._publish(self.collector.add(row, message, time.monotonic()))

    def _publish(self, outgoing: Sequence[OutgoingEvents]) -> None:
        for each in outgoing:
            self.in_flight.add(each, self._send_message(each.message))

    def _process_acknowledgements(self, acknowledgements: Sequence[Acknowledgement]) -> None:
        """Moves accepted events to the journal and permanently refused ones to the dead letters."""
        good = [each.sequence for each in acknowledgements if not each.refused and not each.busy]
        if accepted := [each for sequence in good for each in self.in_flight.events_of(sequence)]:
            self.outbox.acknowledge(accepted)
            self.collector.alone.difference_update(accepted)
        for acknowledgement in acknowledgements:
            if acknowledgement.refused:
                self._refuse(acknowledgement.sequence, acknowledgement.refused)
            elif (sent := self.in_flight.pop(acknowledgement.sequence)) is not None and not acknowledgement.busy:
                self.causes.acknowledged(sent.size)
        busy = next((each.busy for each in acknowledgements if each.busy), None)
        if busy is not None:
            raise _BrokerBusy(f"the broker temporarily refuses events: {busy}")

    def _refuse(self, sequence: int, reason: str, is_connected: bool = True) -> None:
        """Makes an event a dead letter, and reports each reason once for a connection; sends those of a batch alone."""
        sent = self.in_flight.pop(sequence)
        rows = sent.content.rows if sent is not None else ()
        if sent is not None and len(rows) > 1:
            log.warning("the broker refuses a batch of %d events, each goes alone: %s", len(rows), reason)
            self.collector.alone.update(row.sequence for row in rows)
            for row, part in zip(rows, sent.content.message.parts, strict=True) if is_connected else ():
                self._publish(self.collector.add(row, part, time.monotonic()))
            return
        log.error("the broker refuses event %d: %s", sequence, reason)
        self.outbox.mark_dead_letter(sequence, reason)
        self.collector.alone.discard(sequence)
        if reason not in self.reported_reasons and rows and not isinstance(rows[0].event, SystemEvent):
            self.reported_reasons.add(reason)
            self.outbox.put_system_event("broker", "refused", {"sequence": sequence, "reason": reason})

    def _send_message(self, message: Message) -> int:
        """Sends a message; returns the size of its packet in bytes."""
        self.sink.send(message)
        size = packet_bytes(message)
        self.published_bytes += size
        return size

    def _wait(self, seconds: float) -> None:
        """Waits for `seconds`, but at most DRAIN_RETRY_SECONDS while draining, so that retries use the time left."""
        began = time.monotonic()
        while not self._is_finished():
            self.last_iteration = time.monotonic()
            limit = min(seconds, DRAIN_RETRY_SECONDS) if self.stopping.is_set() else seconds
            if self.last_iteration - began >= limit:
                return
            time.sleep(0.1)

    def _is_finished(self) -> bool:
        """True while draining if no event is pending or the deadline has passed."""
        return self.stopping.is_set() and (time.monotonic() > self.deadline or not self.outbox.count_pending())

    def drain(self, seconds: float) -> None:
        """Sends pending events for at most `seconds`, then stops; the rest stays in the outbox for the next start."""
        self.deadline = time.monotonic() + seconds
        self.stopping.set()
        self.sink.wake()
        self.join()
