"""Events wait here until the broker has acknowledged them.

The promise: once `put` returns, the event survives a crash and a power cut, and it is deleted only when the broker has
acknowledged it. SQLite in WAL mode with synchronous=FULL keeps the first half (with NORMAL, power cuts lost up to 357
committed rows); deleting on acknowledgement keeps the second.

The file is bounded. A really full disk would refuse even a DELETE, so the bound is SQLite's own page count, which trips
while the disk still has room: then the oldest events give way, and a tombstone in the sequence says which.

One process owns the file (a lock beside it says so), with one connection; SQLite before 3.51.3 can corrupt a WAL that
two connections write at once.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from pathlib import Path

import msgspec

from .event import Event, Tombstone, new_id
from .problem import MachineProblem
from .timesync import time_quality

_EVICT = 64  # events that give way at a time

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    body     BLOB NOT NULL,
    refused  TEXT
) STRICT;
"""


class Row(msgspec.Struct, frozen=True):
    """An event in its place."""

    sequence: int
    event: Event | Tombstone


class Outbox:
    """The file; every method may be called from any thread."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.guard = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineProblem(f"{path} is in use by another vedette", hint="one daemon runs one camera") from None
        except OSError as error:
            hint = "give the daemon a folder that it may write"
            raise MachineProblem(f"{path.parent}: {error.strerror}", hint=hint) from None
        try:
            self.database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare(max_bytes)
        except sqlite3.DatabaseError as error:
            os.close(self.lock)
            full = "make room on the disk of the state folder"
            hint = full if "full" in str(error) else "move it away; the daemon makes a new one"
            raise MachineProblem(f"{path}: {error}", hint=hint) from None

    def _prepare(self, max_bytes: int) -> None:
        run = self.database.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA wal_autocheckpoint = 256")
        run("PRAGMA journal_size_limit = 1048576")
        page = run("PRAGMA page_size").fetchone()[0]
        run(f"PRAGMA max_page_count = {max(max_bytes // page, 16)}")
        self.database.executescript(_SCHEMA)
        run("INSERT OR IGNORE INTO facts VALUES ('epoch', ?)", (os.urandom(4).hex(),))
        self.epoch: str = run("SELECT value FROM facts WHERE name = 'epoch'").fetchone()[0]
        run("UPDATE events SET refused = NULL WHERE refused IS NOT NULL")  # a new start tries again

    def put(self, event: Event) -> int:
        """Records the event and returns its sequence number; from then on it is not lost.

        Raises:
            MachineProblem: the store takes nothing any more, not even after making room.
        """
        body = msgspec.json.encode(msgspec.structs.replace(event, timequality=time_quality()))
        with self.guard:
            try:
                return self._insert(body)
            except sqlite3.OperationalError as error:
                if "full" not in str(error):
                    raise MachineProblem(f"{self.path}: {error}", hint="check the disk of the state folder") from None
            return self._make_room(event.camera, body)

    def _insert(self, body: bytes) -> int:
        row = self.database.execute("INSERT INTO events (body) VALUES (?) RETURNING sequence", (body,)).fetchone()
        return int(row[0])

    def _make_room(self, camera: str, body: bytes) -> int:
        """Lets the oldest events go, leaves a tombstone for them, and records the new one: all three or nothing."""
        run = self.database.execute
        try:
            run("BEGIN IMMEDIATE")
            rows = run("SELECT sequence, body FROM events ORDER BY sequence LIMIT ?", (_EVICT,)).fetchall()
            first, last = rows[0][0], rows[-1][0]
            run("DELETE FROM events WHERE sequence BETWEEN ? AND ?", (first, last))
            tombstone = _bury(rows, camera)
            run("INSERT INTO events (body) VALUES (?)", (msgspec.json.encode(tombstone),))
            row = run("INSERT INTO events (body) VALUES (?) RETURNING sequence", (body,)).fetchone()
            run("COMMIT")
        except (sqlite3.OperationalError, IndexError) as error:
            if self.database.in_transaction:
                run("ROLLBACK")
            raise MachineProblem(f"{self.path}: {error}", hint="check the disk of the state folder") from None
        return int(row[0])

    def after(self, sequence: int, limit: int) -> list[Row]:
        """The oldest events behind `sequence` that still wait, at most `limit`."""
        with self.guard:
            rows = self.database.execute(
                "SELECT sequence, body FROM events WHERE sequence > ? AND refused IS NULL ORDER BY sequence LIMIT ?",
                (sequence, limit),
            ).fetchall()
        readable = []
        for number, body in rows:
            try:
                readable.append(Row(number, msgspec.json.decode(body, type=Event | Tombstone)))
            except msgspec.DecodeError as error:
                self.refuse(number, f"unreadable: {error}")
        return readable

    def acknowledge(self, sequences: list[int]) -> None:
        """The broker has them: they may go."""
        with self.guard:
            marks = ",".join("?" * len(sequences))
            self.database.execute(f"DELETE FROM events WHERE sequence IN ({marks})", sequences)  # noqa: S608

    def refuse(self, sequence: int, reason: str) -> None:
        """The broker will not have this one: it is kept, and does not hold up those behind it."""
        with self.guard:
            self.database.execute("UPDATE events SET refused = ? WHERE sequence = ?", (reason, sequence))

    def backlog(self) -> int:
        """How many events could still be sent."""
        return self._count("refused IS NULL")

    def refused(self) -> int:
        """How many events the broker would not have."""
        return self._count("refused IS NOT NULL")

    def _count(self, which: str) -> int:
        with self.guard:
            row = self.database.execute(f"SELECT count(*) FROM events WHERE {which}").fetchone()  # noqa: S608
        return int(row[0])

    def close(self) -> None:
        with self.guard:
            self.database.close()
            os.close(self.lock)


def _bury(rows: list[tuple[int, bytes]], camera: str) -> Tombstone:
    """One tombstone for all of `rows`; those among them that are tombstones hand on what they stood for."""
    first, last, count = rows[0][0], rows[-1][0], 0
    for _, body in rows:
        try:
            event = msgspec.json.decode(body, type=Event | Tombstone)
        except msgspec.DecodeError:
            event = None
        if isinstance(event, Tombstone):
            first, count = min(first, event.first), count + event.count
        else:
            count += 1
    return Tombstone(new_id(), camera, time.time(), first, last, count)
