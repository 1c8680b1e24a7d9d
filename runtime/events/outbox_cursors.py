"""Cursors of the sinks beside the broker: which events each of them has settled, in the database of the outbox.

    sink_cursors        a row for each sink: the events up to `settled` are acknowledged or refused
    sink_exceptions     events for which that does not hold
        refused NULL    pending again, although not beyond the cursor: a dead letter from before the start
        refused ''      acknowledged, although beyond the cursor: an earlier event is still pending
        refused         the reason: a dead letter

The columns of `events` are the broker's alone. So the file of a device without further sinks is that of older releases,
and these can also use a file with these tables: they leave them alone. Their sinks go on where they were.

A new sink starts with the events that are recorded from then on. A removed one holds nothing any more.
Methods run within the outbox's lock, and those that write within a transaction of the caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from .outbox_schema import IS_DEAD_LETTER, IS_PENDING, EventCounts

BROKER = "broker"
MAX_REASON_LENGTH = 300  # characters
_STEP = 256  # events by which a cursor advances at a time
_TABLES = (
    "CREATE TABLE IF NOT EXISTS sink_cursors (sink TEXT PRIMARY KEY, settled INTEGER NOT NULL, delivered REAL) STRICT, "
    "WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS sink_exceptions (sequence INTEGER NOT NULL, sink TEXT NOT NULL, refused TEXT, "
    "PRIMARY KEY (sequence, sink)) STRICT, WITHOUT ROWID",
)


def pending_state(sink: str) -> str:
    """The condition of the events that wait for a sink."""
    if sink == BROKER:
        return IS_PENDING
    mine = f"SELECT sequence FROM sink_exceptions WHERE sink = '{sink}'"
    beyond = f"sequence > (SELECT settled FROM sink_cursors WHERE sink = '{sink}') AND sequence NOT IN ({mine})"
    return f"({beyond} OR sequence IN ({mine} AND refused IS NULL))"


def dead_state(sink: str) -> str:
    """The condition of the events that a sink has refused."""
    if sink == BROKER:
        return IS_DEAD_LETTER
    return f"sequence IN (SELECT sequence FROM sink_exceptions WHERE sink = '{sink}' AND refused <> '')"


def read_sinks(database: sqlite3.Connection) -> list[str]:
    """The names of the sinks beside the broker that a database knows."""
    if not _has_tables(database):
        return []
    return [sink for (sink,) in database.execute("SELECT sink FROM sink_cursors ORDER BY sink")]


def _has_tables(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sink_cursors'").fetchone())


class SinkCursors:
    """The cursors of the configured sinks.

    Args:
        database: of the outbox
        counts: numbers of its events, kept up to date
        sinks: names of the sinks beside the broker, of letters, digits, `-` and `_`
    """

    def __init__(self, database: sqlite3.Connection, counts: EventCounts, sinks: Sequence[str]) -> None:
        self.database, self.counts, self.sinks = database, counts, tuple(sinks)
        counts.arriving = (IS_PENDING, *map(pending_state, self.sinks))

    def configure(self) -> None:
        """Adds the cursors of new sinks, removes those of others; dead letters are pending again."""
        execute = self.database.execute
        if not self.sinks:
            for table in ("sink_exceptions", "sink_cursors"):
                execute(f"DROP TABLE IF EXISTS {table}")
            return
        names = ",".join(f"'{sink}'" for sink in self.sinks)
        newest = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'"
        with self.database:
            execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                execute(table)
            execute(f"DELETE FROM sink_cursors WHERE sink NOT IN ({names})")
            for sink in self.sinks:
                execute(f"INSERT OR IGNORE INTO sink_cursors VALUES (?, ({newest}), NULL)", (sink,))
            execute(f"DELETE FROM sink_exceptions WHERE sink NOT IN ({names})")
            execute("DELETE FROM sink_exceptions WHERE sequence NOT IN (SELECT sequence FROM events)")
            execute("UPDATE sink_exceptions SET refused = NULL WHERE refused <> ''")
            execute(
                "DELETE FROM sink_exceptions WHERE refused IS NULL AND sequence > "
                "(SELECT settled FROM sink_cursors WHERE sink = sink_exceptions.sink)"
            )

    @property
    def is_journal(self) -> str:
        """The condition of the events that every sink has taken."""
        if not self.sinks:
            return "delivered"
        return f"delivered AND sequence <= {self._floor()} AND sequence NOT IN (SELECT sequence FROM sink_exceptions)"

    def trim(self, last: int) -> int:
        """Deletes the journal up to the sequence number `last`; returns how many events that were."""
        last = min(last, self._floor()) if self.sinks else last
        held = " AND sequence NOT IN (SELECT sequence FROM sink_exceptions)" if self.sinks else ""
        return self.database.execute(f"DELETE FROM events WHERE delivered AND sequence <= ?{held}", (last,)).rowcount

    def read(self, sink: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Numbers and bodies of the oldest events that wait for a sink, after the number `after`; at most `limit`."""
        mine = f"SELECT sequence FROM sink_exceptions WHERE sink = '{sink}'"
        query = "SELECT sequence, body FROM events WHERE sequence > ? AND sequence {} ORDER BY sequence LIMIT ?"
        again = query.format(f"IN ({mine} AND refused IS NULL)")
        rows: list[tuple[int, bytes]] = self.database.execute(again, (after, limit)).fetchall()
        first = max(after, self._settled(sink))
        return rows + self.database.execute(query.format(f"NOT IN ({mine})"), (first, limit - len(rows))).fetchall()

    def acknowledge(self, sink: str, sequences: Sequence[int], when: float | None = None) -> None:
        """Settles events that a sink has taken; `when`: the wall-clock time if it was a delivery."""
        execute, among = self.database.execute, f"sequence IN ({','.join('?' * len(sequences))})"
        query = f"SELECT sequence FROM events WHERE {among} AND {pending_state(sink)}"
        pending = {sequence for (sequence,) in execute(query, list(sequences))}
        execute(f"DELETE FROM sink_exceptions WHERE sink = ? AND {among} AND refused IS NULL", (sink, *sequences))
        settled = self._advance(sink, pending)
        early = [(sequence, sink, "") for sequence in pending if sequence > settled]
        self.database.executemany("INSERT OR IGNORE INTO sink_exceptions VALUES (?, ?, ?)", early)
        if when is not None:
            execute("UPDATE sink_cursors SET delivered = ? WHERE sink = ?", (when, sink))
        self.counts.change({pending_state(sink): -len(pending)})

    def refuse(self, sink: str, sequence: int, reason: str) -> None:
        """Makes an event a dead letter of a sink."""
        insert = (
            f"INSERT OR REPLACE INTO sink_exceptions SELECT sequence, ?, ? FROM events "
            f"WHERE sequence = ? AND {pending_state(sink)}"
        )
        text = reason[:MAX_REASON_LENGTH] or "refused"
        number = self.database.execute(insert, (sink, text, sequence)).rowcount
        self._advance(sink, set())
        self.counts.change({pending_state(sink): -number, dead_state(sink): number})

    def delivered(self, sink: str) -> float | None:
        """Wall-clock time of the last delivery to a sink, seconds since 1970; None: there was none."""
        query = "SELECT delivered FROM sink_cursors WHERE sink = ?"
        when: float | None = self.database.execute(query, (sink,)).fetchone()[0]
        return when

    def forget(self, rows: Sequence[tuple[int, bool]]) -> set[str]:
        """Forgets evicted events; returns the names of the sinks that miss one. Without further sinks: none.

        Args:
            rows: sequence number of each, and whether the broker has acknowledged it
        """
        if not self.sinks or not rows:
            return set()
        numbers = [sequence for sequence, _ in rows]
        among = f"sequence IN ({','.join('?' * len(numbers))})"
        execute = self.database.execute
        exceptions = {
            (sink, sequence): refused
            for sequence, sink, refused in execute(f"SELECT * FROM sink_exceptions WHERE {among}", numbers)
        }
        execute(f"DELETE FROM sink_exceptions WHERE {among}", numbers)
        missing = {BROKER} if not all(delivered for _, delivered in rows) else set()
        for sink in self.sinks:
            settled = self._settled(sink)
            usual = {sequence: "" if sequence <= settled else None for sequence in numbers}
            if any(exceptions.get((sink, sequence), usual[sequence]) != "" for sequence in numbers):
                missing.add(sink)
        return missing

    def _settled(self, sink: str) -> int:
        (settled,) = self.database.execute("SELECT settled FROM sink_cursors WHERE sink = ?", (sink,)).fetchone()
        return int(settled)

    def _floor(self) -> int:
        return int(self.database.execute("SELECT min(settled) FROM sink_cursors").fetchone()[0])

    def _advance(self, sink: str, taken: set[int]) -> int:
        """Moves the cursor up to the first event that the sink has not settled; `taken` are those it takes now."""
        execute, before = self.database.execute, self._settled(sink)
        settled, finished = before, False
        query = (
            "SELECT sequence, EXISTS (SELECT 1 FROM sink_exceptions AS each WHERE each.sequence = events.sequence "
            "AND sink = ?) FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?"
        )
        while not finished:
            rows = execute(query, (sink, settled, _STEP)).fetchall()
            finished = len(rows) < _STEP
            for sequence, is_exception in rows:
                if sequence not in taken and not is_exception:
                    finished = True
                    break
                settled = sequence
        if settled > before:
            execute("UPDATE sink_cursors SET settled = ? WHERE sink = ?", (settled, sink))
            execute("DELETE FROM sink_exceptions WHERE sink = ? AND refused = '' AND sequence <= ?", (sink, settled))
        return settled
