"""Messages with events that were sent over a connection and are not acknowledged yet."""

from __future__ import annotations

import time
from typing import NamedTuple

from .batch_collector import BatchCollector, OutgoingEvents

MAX_MESSAGES = 16
"""At most so many are unacknowledged."""
MAX_EVENTS = 64
"""With batches: at most so many events wait for their batch or are unacknowledged."""


class SentMessage(NamedTuple):
    """A message that was sent."""

    when: float
    """Monotonic time of sending."""
    size: int
    """Of its packet, bytes."""
    content: OutgoingEvents


class SentMessages:
    """The unacknowledged messages of a connection, by the sequence number of their last event.

    Args:
        collector: has the events that wait for their batch
    """

    def __init__(self, collector: BatchCollector) -> None:
        self.collector = collector
        self.by_sequence: dict[int, SentMessage] = {}

    def clear(self) -> None:
        """Forgets all: the connection is lost, and they will be sent again."""
        self.by_sequence.clear()

    def add(self, content: OutgoingEvents, size: int) -> None:
        """Notes a message that was sent with so many bytes."""
        self.by_sequence[content.rows[-1].sequence] = SentMessage(time.monotonic(), size, content)

    def pop(self, sequence: int) -> SentMessage | None:
        """Forgets the message whose last event has this number; None: there is none."""
        return self.by_sequence.pop(sequence, None)

    def events_of(self, sequence: int) -> list[int]:
        """Sequence numbers of all events in the message whose last event has this number."""
        sent = self.by_sequence.get(sequence)
        return [sequence] if sent is None else [row.sequence for row in sent.content.rows]

    def sizes(self) -> dict[int, int]:
        """Bytes of each message."""
        return {sequence: sent.size for sequence, sent in self.by_sequence.items()}

    def count_events(self) -> int:
        """Number of events that wait for their batch or are in a message."""
        return len(self.collector.rows) + sum(len(sent.content.rows) for sent in self.by_sequence.values())

    def room(self, one_at_a_time: bool) -> int:
        """How many more events may be taken from the outbox.

        Args:
            one_at_a_time: True: one only if no other is unacknowledged
        """
        if len(self.by_sequence) >= MAX_MESSAGES:
            return 0
        most = 1 if one_at_a_time else MAX_EVENTS if self.collector.is_active else MAX_MESSAGES
        return max(most - self.count_events(), 0)

    def is_overdue(self, seconds: float) -> bool:
        """True if a message has had no acknowledgement for so long."""
        return any(time.monotonic() - sent.when > seconds for sent in self.by_sequence.values())
