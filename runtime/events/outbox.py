"""The outbox: a durable queue of events until the broker acknowledges them.

Guarantee: once `put` returns, the event survives a crash and a power cut, and it stays until the broker acknowledges
it. SQLite in WAL mode with synchronous=FULL gives durability (with NORMAL, power cuts lost up to 357 committed rows).
Acknowledged events stay for a while as a journal, so that they can be replayed if the broker loses them.

The size of the file is limited. SQLite needs free disk space even for a DELETE, so the limit is SQLite's page count,
which takes effect while the disk has space. If the disk has less than `min_free` left, the limit is the present size.
A full outbox evicts the journal first, then the events of the lowest priority, oldest first. A tombstone in the
sequence records which events were evicted.

One process owns the file, by a lock file, and uses one connection: SQLite before 3.51.3 can corrupt a WAL that two
connections write at the same time.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from ..clock import Clock
from ..config.configuration import Config
from ..errors import MachineProblem
from . import outbox_file
from .event import SYSTEM_PRIORITY, Event, SystemEvent, make_system_event, stamp_time
from .outbox_file import IS_DEAD_LETTER, IS_PENDING

JOURNAL_ROWS = 10_000  # default number of delivered events to keep
_BATCH_ROWS = 64  # rows evicted or restored at a time
_FREE_PAGES = 4  # free pages after an eviction
_MAX_BYTES_IN_MEMORY = 8 << 20
_TOMBSTONE_PRIORITY = SYSTEM_PRIORITY + 1
FILE_NAME = "outbox.db"


class SequencedEvent(msgspec.Struct, frozen=True):
    """An event with its sequence number."""

    sequence: int
    event: Event | SystemEvent


class Outbox:
    """A durable queue of events in an SQLite file. All methods are thread-safe.

    Args:
        path: the SQLite file
        max_bytes: limit of the file size
        min_free: free bytes on the disk below which the file does not grow
        journal: delivered events to keep, space permitting
        volatile: True if a file system in memory is intended, and therefore no fault
        camera: camera name in system events
        clock: source of the time stamps
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        min_free: int = 0,
        journal: int = JOURNAL_ROWS,
        volatile: bool = False,
        camera: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.path, self.min_free, self.journal, self.camera = path, min_free, journal, camera
        self.clock = clock or Clock()
        self.mutex = threading.Lock()
        self.file = outbox_file.open_outbox_file(path, volatile)
        self.database = self.file.database
        execute = self.database.execute
        limit = max_bytes if self.is_durable else min(max_bytes, _MAX_BYTES_IN_MEMORY)
        self.max_pages = max(limit // execute("PRAGMA page_size").fetchone()[0], 16)
        self.page_limit = 0
        self._enforce_size_limit()
        self.epoch: str = execute("SELECT value FROM facts WHERE name = 'epoch'").fetchone()[0]
        execute(f"UPDATE events SET refused = NULL WHERE {IS_DEAD_LETTER}")  # dead letters are sent again
        for start in range(0, len(self.file.salvaged), _BATCH_ROWS):
            with self._transaction():
                self._put(self.file.salvaged[start : start + _BATCH_ROWS])
        if self.file.fault is not None:
            self.put_system_event("outbox", *self.file.fault)

    @classmethod
    def from_config(cls, settings: Config) -> Outbox:
        """Opens the outbox of a camera with its configured limits."""
        limits, path = settings.outbox, settings.state_folder / FILE_NAME
        return cls(path, limits.max_bytes, limits.min_free, limits.journal, limits.volatile, settings.camera)

    @property
    def is_durable(self) -> bool:
        """True if the outbox is a file; False if it is in memory."""
        return self.file.lock is not None

    def put(self, *records: Event | SystemEvent) -> int:
        """Stores records durably, all or none; returns the sequence number of the last one.

        Raises:
            MachineProblem: the database cannot store them, even after an eviction.
        """
        rows = [(msgspec.json.encode(stamp_time(record, self.clock)), record.priority) for record in records]
        with self._transaction():
            return self._put(rows)

    def put_system_event(self, rule: str, kind: str, facts: dict[str, Any]) -> None:
        """Stores an event about the device itself."""
        self.put(make_system_event(self.camera, rule, kind, facts, self.clock))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Admits one thread at a time; rolls back on a database error and raises it as MachineProblem."""
        with self.mutex:
            try:
                yield
            except sqlite3.DatabaseError as error:
                with suppress(sqlite3.DatabaseError):
                    if self.database.in_transaction:
                        self.database.execute("ROLLBACK")
                raise MachineProblem(f"{self.path}: {error}", hint="check the disk of the state folder") from None

    def _put(self, rows: Sequence[tuple[bytes, int]]) -> int:
        execute = self.database.execute
        self._enforce_size_limit()
        execute("BEGIN IMMEDIATE")
        try:
            last = self._insert(rows)
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            if self.database.in_transaction:
                execute("ROLLBACK")
            execute("BEGIN IMMEDIATE")
            self._evict()
            last = self._insert(rows)
        execute("COMMIT")
        return last

    def _insert(self, rows: Sequence[tuple[bytes, int]]) -> int:
        last = 0
        for row in rows:
            cursor = self.database.execute("INSERT INTO events (body, priority) VALUES (?, ?) RETURNING sequence", row)
            last = int(cursor.fetchone()[0])
        return last

    def _enforce_size_limit(self) -> None:
        """Sets SQLite's page limit; the present page count if the disk has less than `min_free` bytes left."""
        limit = self.max_pages
        if self.min_free and self.is_durable and shutil.disk_usage(self.path.parent).free < self.min_free:
            limit = min(limit, self.database.execute("PRAGMA page_count").fetchone()[0])
        if limit != self.page_limit:
            self.database.execute(f"PRAGMA max_page_count = {limit}")
            self.page_limit = limit

    def _evict(self) -> None:
        """Evicts the journal, then pending events of low priority with a tombstone. Runs within a transaction."""
        journal = "SELECT sequence, body FROM events WHERE delivered ORDER BY sequence LIMIT ?"
        lowest_priority = "SELECT sequence, body FROM events WHERE priority < ? ORDER BY priority, sequence LIMIT ?"
        while not self._has_free_pages() and self._delete_rows(journal, _BATCH_ROWS):
            pass
        evicted: list[tuple[int, bytes]] = []
        while not self._has_free_pages() and (
            rows := self._delete_rows(lowest_priority, _TOMBSTONE_PRIORITY, _BATCH_ROWS)
        ):
            evicted += rows
        if evicted:
            evicted += self._delete_rows("SELECT sequence, body FROM events WHERE priority = ?", _TOMBSTONE_PRIORITY)
            tombstone = stamp_time(
                make_system_event(self.camera, "outbox", "evicted", outbox_file.merge_tombstones(evicted), self.clock),
                self.clock,
            )
            self._insert([(msgspec.json.encode(tombstone), _TOMBSTONE_PRIORITY)])

    def _has_free_pages(self) -> bool:
        """True if enough pages are free: deleted rows free a page only if no other row is on it."""
        return bool(self.database.execute("PRAGMA freelist_count").fetchone()[0] >= _FREE_PAGES)

    def _delete_rows(self, query: str, *values: int) -> list[tuple[int, bytes]]:
        """Deletes the rows (sequence number, body) that `query` selects, and returns them."""
        rows = self.database.execute(query, values).fetchall()
        self.database.execute(
            f"DELETE FROM events WHERE sequence IN ({_placeholders(rows)})", [number for number, _ in rows]
        )
        return rows

    def read_after(self, sequence: int, limit: int) -> list[SequencedEvent]:
        """The oldest pending events after `sequence`, at most `limit`."""
        with self._transaction():
            rows = self.database.execute(
                f"SELECT sequence, body FROM events WHERE sequence > ? AND {IS_PENDING} ORDER BY sequence LIMIT ?",
                (sequence, limit),
            ).fetchall()
        readable = []
        for number, body in rows:
            try:
                readable.append(SequencedEvent(number, msgspec.json.decode(body, type=Event | SystemEvent)))
            except msgspec.DecodeError as error:
                self.mark_dead_letter(number, f"unreadable: {error}")
        return readable

    def acknowledge(self, sequences: list[int]) -> None:
        """Moves delivered events to the journal and deletes its oldest events."""
        with self._transaction():
            execute = self.database.execute
            execute("BEGIN IMMEDIATE")
            execute(f"UPDATE events SET delivered = 1 WHERE sequence IN ({_placeholders(sequences)})", sequences)
            execute("DELETE FROM events WHERE delivered AND sequence <= ?", (max(sequences) - self.journal,))
            execute("COMMIT")

    def replay(self, first: int, last: int) -> int:
        """Makes delivered events in the journal pending again, from `first` to `last`; returns their number."""
        with self._transaction():
            changed = "UPDATE events SET delivered = 0 WHERE delivered AND sequence BETWEEN ? AND ?"
            return self.database.execute(changed, (first, last)).rowcount

    def mark_dead_letter(self, sequence: int, reason: str) -> None:
        """Marks an event as refused by the broker: it is kept, and does not block later events."""
        with self._transaction():
            self.database.execute("UPDATE events SET refused = ? WHERE sequence = ?", (reason, sequence))

    def count_pending(self) -> int:
        """Number of events that wait for delivery."""
        return self._count(IS_PENDING)

    def count_dead_letters(self) -> int:
        """Number of events that the broker has refused."""
        return self._count(IS_DEAD_LETTER)

    def _count(self, condition: str) -> int:
        with self._transaction():
            row = self.database.execute(f"SELECT count(*) FROM events WHERE {condition}").fetchone()
        return int(row[0])

    def close(self) -> None:
        with self._transaction():
            self.file.close()


def _placeholders(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
