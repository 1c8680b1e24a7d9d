"""The events of an outbox that wait for one sink beside the broker."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..errors import UNREADABLE
from .event import Event, SystemEvent
from .outbox import Outbox, SequencedEvent
from .outbox_cursors import dead_state, pending_state

_BATCH = 500  # sequence numbers in a query


class SinkQueue:
    """What waits for a sink. All methods are thread-safe, and raise MachineProblem as those of the outbox do.

    Args:
        outbox: knows the sink (its argument `sinks`)
        sink: the sink's name
    """

    def __init__(self, outbox: Outbox, sink: str) -> None:
        self.outbox, self.sink, self.cursors = outbox, sink, outbox.cursors

    def read_after(self, sequence: int, limit: int) -> list[SequencedEvent]:
        """The oldest pending events after `sequence`, at most `limit`. What is unreadable becomes a dead letter."""
        with self.outbox.transaction():
            rows = self.cursors.read(self.sink, sequence, limit)
        readable = []
        for number, body in rows:
            try:
                readable.append(SequencedEvent(number, msgspec.json.decode(body, type=Event | SystemEvent)))
            except UNREADABLE as error:
                self.mark_dead_letter(number, f"unreadable: {error}")
        return readable

    def acknowledge(self, sequences: Sequence[int], when: float | None = None) -> None:
        """Settles events that the sink has taken, or does not want; deletes the oldest of the journal.

        Args:
            sequences: their numbers
            when: wall-clock time of the delivery, seconds since 1970; None: nothing was delivered
        """
        for start in range(0, len(sequences), _BATCH):
            batch = sequences[start : start + _BATCH]
            with self.outbox.transaction():
                self.outbox.database.execute("BEGIN IMMEDIATE")
                self.cursors.acknowledge(self.sink, batch, when)
                if self.cursors.trim(max(batch) - self.outbox.journal):
                    self.outbox.journal_replay.forget_count()
                self.outbox.database.execute("COMMIT")

    def mark_dead_letter(self, sequence: int, reason: str) -> None:
        """Marks an event as refused by the sink: it is kept, and does not block later events."""
        with self.outbox.transaction():
            self.outbox.database.execute("BEGIN IMMEDIATE")
            self.outbox.space.keep_spare()
            self.cursors.refuse(self.sink, sequence, reason)
            self.outbox.database.execute("COMMIT")

    def last_delivery(self) -> float | None:
        """Wall-clock time of the last delivery, seconds since 1970; None: there was none."""
        with self.outbox.transaction():
            return self.cursors.delivered(self.sink)

    def count_pending(self) -> int:
        """Number of events that wait for the sink."""
        return self._count(pending_state(self.sink))

    def count_dead_letters(self) -> int:
        """Number of events that the sink has refused."""
        return self._count(dead_state(self.sink))

    def _count(self, state: str) -> int:
        with self.outbox.transaction():
            return self.outbox.counts[state]
