"""Events that wait to be published together: for so many seconds, or until so many bytes, whichever comes first."""

from __future__ import annotations

import msgspec

from ..config.batch_table import BatchSettings
from .event_batch import BATCH_TYPE, BatchPayload
from .outbox import SequencedEvent
from .sinks import Message


class OutgoingEvents(msgspec.Struct, frozen=True):
    """A message with one event or several, and what of the outbox it holds."""

    message: Message
    """Its `sequence` is that of the last event."""
    rows: tuple[SequencedEvent, ...]


class BatchCollector:
    """Collects events into batches, in their order. Without `seconds` each event is a message of its own.

    Args:
        settings: `[broker.batch]`
        topic: of batches
    """

    def __init__(self, settings: BatchSettings, topic: str) -> None:
        self.settings, self.topic = settings, topic
        self.alone: set[int] = set()
        """Sequence numbers of events whose batch was refused: they go alone, so that one holds up no other."""
        self.clear()

    @property
    def is_active(self) -> bool:
        """True if events are collected."""
        return self.settings.seconds > 0

    def clear(self) -> None:
        """Forgets what waits; it is still in the outbox."""
        self.rows: list[SequencedEvent] = []
        self.parts: list[Message] = []
        self.payload = BatchPayload(self.settings.encoding)
        self.since = float("inf")
        """When the first event that waits came."""
        self.is_urgent = False

    def add(self, row: SequencedEvent, message: Message, now: float) -> list[OutgoingEvents]:
        """Takes an event; returns what has to go now, because it is full.

        Args:
            row: the event
            message: the event as a message of its own
            now: monotonic time, seconds
        """
        if not self.is_active:
            return [OutgoingEvents(message, (row,))]
        is_alone, ready = row.sequence in self.alone, []
        if self.rows and (is_alone or self.payload.size_with(message.payload) > self.settings.bytes):
            ready += self.take()
        self.since = min(self.since, now)
        self.rows.append(row)
        self.parts.append(message)
        self.payload.add(message.payload)
        self.is_urgent = self.is_urgent or row.event.priority >= self.settings.urgent
        return ready + self.take() if is_alone else ready

    def take_due(self, now: float) -> list[OutgoingEvents]:
        """What has to go now, because it has waited long enough or is urgent."""
        return self.take() if self.is_urgent or self.seconds_left(now) <= 0 else []

    def take(self) -> list[OutgoingEvents]:
        """What waits, as a batch; empty if nothing does."""
        if not self.rows:
            return []
        sequence = self.rows[-1].sequence
        parts = tuple(self.parts)
        message = Message(self.topic, self.payload.finish(), False, BATCH_TYPE, sequence, parts=parts)
        batch = OutgoingEvents(message, tuple(self.rows))
        self.clear()
        return [batch]

    def seconds_left(self, now: float) -> float:
        """Seconds until a batch is due; infinite if nothing waits."""
        return self.since + self.settings.seconds - now
