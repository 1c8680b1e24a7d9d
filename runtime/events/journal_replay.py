"""The range of the journal that is to be sent again, kept in the outbox database.

The range is one row of the table `facts`, so that a replay needs no room in a full file. Events of the range stay in
the journal; the range shrinks from its start as they are acknowledged. Methods run within the outbox's lock.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from .outbox_schema import EventCounts

_IN_RANGE = "delivered AND refused IS NULL AND sequence BETWEEN ? AND ?"
_EMPTY = (1, 0)


class JournalReplay:
    """A replay, or none."""

    def __init__(self, database: sqlite3.Connection, counts: EventCounts) -> None:
        self.database, self.counts = database, counts
        database.execute("INSERT OR IGNORE INTO facts VALUES ('replay', ?)", ("1 0".ljust(40),))  # room for any range
        (text,) = database.execute("SELECT value FROM facts WHERE name = 'replay'").fetchone()
        numbers = [int(each) for each in text.split() if re.fullmatch(r"[0-9]{1,18}", each)]  # as SQLite takes them
        self.range = (numbers[0], numbers[1]) if len(numbers) == 2 else _EMPTY

    def start(self, first: int, last: int) -> int:
        """Begins a replay of the events in the journal from `first` to `last`; returns their number.

        The range ends with the newest event that was delivered so far, so that events to come are not sent twice.
        """
        query = f"SELECT max(sequence) FROM events WHERE {_IN_RANGE}"
        (newest,) = self.database.execute(query, (first, last)).fetchone()
        self._set(first, newest or 0)
        return self.count()

    def read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Sequence numbers and bodies of the oldest events to send after the number `after`, at most `limit`."""
        first, last = self.range
        query = f"SELECT sequence, body FROM events WHERE {_IN_RANGE} ORDER BY sequence LIMIT ?"
        return self.database.execute(query, (max(first, after + 1), last, limit)).fetchall()

    def acknowledge(self, sequences: Sequence[int]) -> None:
        """Shrinks the range by events of the journal that were sent again."""
        first, last = self.range
        sent = [sequence for sequence in sequences if first <= sequence <= last]
        if sent:
            self._set(max(sent) + 1, last)

    def count(self) -> int:
        """Number of events that are still to be sent again."""
        return self.counts[self._state] if self.range != _EMPTY else 0

    def forget_count(self) -> None:
        """Makes the next question count again: rows of the journal are gone."""
        self.counts.known.pop(self._state, None)

    @property
    def _state(self) -> str:
        """The state of the events that are still to be sent again, for `EventCounts`."""
        first, last = self.range
        return f"delivered AND refused IS NULL AND sequence BETWEEN {first} AND {last}"

    def _set(self, first: int, last: int) -> None:
        self.forget_count()
        self.range = (first, last) if first <= last else _EMPTY
        text = " ".join(map(str, self.range)).ljust(40)
        self.database.execute("UPDATE facts SET value = ? WHERE name = 'replay'", (text,))
