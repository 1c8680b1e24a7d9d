"""Events wait here until the broker has acknowledged them.

The promise: once `put` returns, the event survives a crash and a power cut, and it stays until the broker has
acknowledged it. SQLite in WAL mode with synchronous=FULL keeps the first half (with NORMAL, power cuts lost up to 357
committed rows). What is acknowledged stays a while longer, as a journal: a broker may lose what it has taken, and then
it can be sent again.

The file is bounded. A really full disk would refuse even a DELETE, so the bound is SQLite's own page count, which trips
while the disk still has room; it comes down to what is there where the disk has less than `min_free` left. Then the
journal gives way first; after it the events of the lowest priority, the oldest of them first, and a tombstone in the
sequence says which.

One process owns the file (a lock beside it says so), with one connection; SQLite before 3.51.3 can corrupt a WAL that
two connections write at once.
"""

from __future__ import annotations

import os
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
from .event import ALARM, Event, Notice, notice, stamped

JOURNAL = 10_000  # events
_EVICT = 64  # events that give way at a time
_ROOM = 4  # pages that are to be empty afterwards
_MOST_IN_MEMORY = 8 << 20  # bytes
_TOMBSTONE = ALARM + 1  # the priority of what stands for others
FILE = "outbox.db"
WAITS, DEAD = "refused IS NULL AND NOT delivered", "refused IS NOT NULL"


class Row(msgspec.Struct, frozen=True):
    """An event in its place."""

    sequence: int
    event: Event | Notice


class Outbox:
    """The file; every method may be called from any thread.

    Args:
        path: of the file
        max_bytes: that it may take
        min_free: bytes that it leaves free on the disk
        journal: how many events are kept after they were delivered, room permitting
        volatile: a file system in memory is no fault
        camera: in whose name it speaks
        clock: what it stamps events with
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        min_free: int = 0,
        journal: int = JOURNAL,
        volatile: bool = False,
        camera: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.path, self.min_free, self.journal, self.camera = path, min_free, journal, camera
        self.clock = clock or Clock()
        self.guard = threading.Lock()
        self.store = outbox_file.opened(path, volatile)
        self.database = self.store.database
        run = self.database.execute
        held = max_bytes if self.lasting else min(max_bytes, _MOST_IN_MEMORY)
        self.most = max(held // run("PRAGMA page_size").fetchone()[0], 16)
        self.bound = 0
        self._keep_bound()
        self.epoch: str = run("SELECT value FROM facts WHERE name = 'epoch'").fetchone()[0]
        run(f"UPDATE events SET refused = NULL WHERE {DEAD}")  # a new start tries again
        for start in range(0, len(self.store.saved), _EVICT):
            with self._held():
                self._put(self.store.saved[start : start + _EVICT])
        if self.store.fault is not None:
            self.tell("outbox", *self.store.fault)

    @classmethod
    def of(cls, settings: Config) -> Outbox:
        """That of a camera, with its limits."""
        limits, path = settings.outbox, settings.place / FILE
        return cls(path, limits.max_bytes, limits.min_free, limits.journal, limits.volatile, settings.camera)

    @property
    def lasting(self) -> bool:
        """Whether it outlives the process."""
        return self.store.lock is not None

    def put(self, *records: Event | Notice) -> int:
        """Records them, all or none, and returns the last one's sequence number; from then on they are not lost.

        Raises:
            MachineProblem: the store takes nothing any more, not even after making room.
        """
        rows = [(msgspec.json.encode(stamped(record, self.clock)), record.priority) for record in records]
        with self._held():
            return self._put(rows)

    def tell(self, rule: str, kind: str, facts: dict[str, Any]) -> None:
        """Records a notice of the daemon's own; see event.py."""
        self.put(notice(self.camera, rule, kind, facts, self.clock))

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One thread at a time; what the database cannot do is the machine's fault."""
        with self.guard:
            try:
                yield
            except sqlite3.DatabaseError as error:
                with suppress(sqlite3.DatabaseError):
                    if self.database.in_transaction:
                        self.database.execute("ROLLBACK")
                raise MachineProblem(f"{self.path}: {error}", hint="check the disk of the state folder") from None

    def _put(self, rows: Sequence[tuple[bytes, int]]) -> int:
        run = self.database.execute
        self._keep_bound()
        run("BEGIN IMMEDIATE")
        try:
            last = self._insert(rows)
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            if self.database.in_transaction:
                run("ROLLBACK")
            run("BEGIN IMMEDIATE")
            self._make_room()
            last = self._insert(rows)
        run("COMMIT")
        return last

    def _insert(self, rows: Sequence[tuple[bytes, int]]) -> int:
        last = 0
        for row in rows:
            found = self.database.execute("INSERT INTO events (body, priority) VALUES (?, ?) RETURNING sequence", row)
            last = int(found.fetchone()[0])
        return last

    def _keep_bound(self) -> None:
        """How many pages the file may have; no more than now where the disk is nearly full."""
        bound = self.most
        if self.min_free and self.lasting:
            disk = os.statvfs(self.path.parent)
            if disk.f_bavail * disk.f_frsize < self.min_free:
                bound = min(bound, self.database.execute("PRAGMA page_count").fetchone()[0])
        if bound != self.bound:
            self.database.execute(f"PRAGMA max_page_count = {bound}")
            self.bound = bound

    def _make_room(self) -> None:
        """Lets the journal go, or else what waits least, with a tombstone for it; within a transaction."""
        oldest = "SELECT sequence, body FROM events WHERE delivered ORDER BY sequence LIMIT ?"
        least = "SELECT sequence, body FROM events WHERE priority < ? ORDER BY priority, sequence LIMIT ?"
        while not self._roomy() and self._let_go(oldest, _EVICT):
            pass
        gone: list[tuple[int, bytes]] = []
        while not self._roomy() and (rows := self._let_go(least, _TOMBSTONE, _EVICT)):
            gone += rows
        if gone:
            gone += self._let_go("SELECT sequence, body FROM events WHERE priority = ?", _TOMBSTONE)
            tombstone = stamped(
                notice(self.camera, "outbox", "evicted", outbox_file.buried(gone), self.clock), self.clock
            )
            self._insert([(msgspec.json.encode(tombstone), _TOMBSTONE)])

    def _roomy(self) -> bool:
        """Rows that lie scattered share their pages with others, and only an empty page makes room."""
        return bool(self.database.execute("PRAGMA freelist_count").fetchone()[0] >= _ROOM)

    def _let_go(self, which: str, *values: int) -> list[tuple[int, bytes]]:
        rows = self.database.execute(which, values).fetchall()
        self.database.execute(f"DELETE FROM events WHERE sequence IN ({_marks(rows)})", [number for number, _ in rows])
        return rows

    def after(self, sequence: int, limit: int) -> list[Row]:
        """The oldest events behind `sequence` that still wait, at most `limit`."""
        with self._held():
            rows = self.database.execute(
                f"SELECT sequence, body FROM events WHERE sequence > ? AND {WAITS} ORDER BY sequence LIMIT ?",
                (sequence, limit),
            ).fetchall()
        readable = []
        for number, body in rows:
            try:
                readable.append(Row(number, msgspec.json.decode(body, type=Event | Notice)))
            except msgspec.DecodeError as error:
                self.refuse(number, f"unreadable: {error}")
        return readable

    def acknowledge(self, sequences: list[int]) -> None:
        """The broker has them: they go into the journal, and the oldest there go for good."""
        with self._held():
            run = self.database.execute
            run("BEGIN IMMEDIATE")
            run(f"UPDATE events SET delivered = 1 WHERE sequence IN ({_marks(sequences)})", sequences)
            run("DELETE FROM events WHERE delivered AND sequence <= ?", (max(sequences) - self.journal,))
            run("COMMIT")

    def replay(self, first: int, last: int) -> int:
        """Takes what was delivered back from the journal, to be sent again; how many those are."""
        with self._held():
            changed = "UPDATE events SET delivered = 0 WHERE delivered AND sequence BETWEEN ? AND ?"
            return self.database.execute(changed, (first, last)).rowcount

    def refuse(self, sequence: int, reason: str) -> None:
        """The broker will not have this one: it is kept, and does not hold up those behind it."""
        with self._held():
            self.database.execute("UPDATE events SET refused = ? WHERE sequence = ?", (reason, sequence))

    def backlog(self) -> int:
        """How many events could still be sent."""
        return self._count(WAITS)

    def refused(self) -> int:
        """How many events the broker would not have."""
        return self._count(DEAD)

    def _count(self, which: str) -> int:
        with self._held():
            row = self.database.execute(f"SELECT count(*) FROM events WHERE {which}").fetchone()
        return int(row[0])

    def close(self) -> None:
        with self._held():
            self.store.close()


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
