"""The file below the outbox: opened whatever state it is in, and what was in it saved.

    whole       it is used
    corrupt     it is set aside, what can be read of it goes into a new one, and a notice says so
    unwritable  a read-only disk, a full one, a folder of somebody else: events wait in memory, and a notice says so
    volatile    a file system in memory: it is used, and a notice says that a power cut empties it

A box that watches and cannot store is worth more than one that does not start; what it cannot promise any more, it
says.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..errors import MachineProblem
from .event import Event, Notice

log = logging.getLogger(__name__)

KEPT_ASIDE = 3  # corrupt files, the newest
_IN_MEMORY = ("tmpfs", "ramfs")
_LEAST_FREE = 1 << 20  # bytes: with less SQLite cannot even delete, for its log has to grow first

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS events (
    sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
    body      BLOB NOT NULL,
    refused   TEXT,
    priority  INTEGER NOT NULL DEFAULT 5,
    delivered INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS waiting ON events (sequence) WHERE refused IS NULL AND NOT delivered;
CREATE INDEX IF NOT EXISTS journal ON events (sequence) WHERE delivered;
CREATE INDEX IF NOT EXISTS dead ON events (sequence) WHERE refused IS NOT NULL;
"""


class Saved(NamedTuple):
    """A row of a file that was set aside."""

    body: bytes
    priority: int


class Store(NamedTuple):
    """An open file, or memory."""

    database: sqlite3.Connection
    lock: int | None
    """Descriptor of the lock beside the file."""
    fault: tuple[str, dict[str, Any]] | None = None
    """What was wrong with it, as kind and facts of a notice."""
    saved: tuple[Saved, ...] = ()
    """What a corrupt one still held, not delivered, the oldest first."""

    def close(self) -> None:
        self.database.close()
        if self.lock is not None:
            os.close(self.lock)


def opened(path: Path, volatile: bool = False) -> Store:
    """The file at `path`, made if need be, or what takes its place; `volatile` where memory is what is wanted.

    Raises:
        MachineProblem: another process has it.
    """
    try:
        lock = locked(path)
    except OSError as error:
        return _in_memory(f"{path.parent}: {error.strerror}")
    try:
        return _whole(path, lock, volatile)
    except sqlite3.OperationalError as error:  # the file may be whole: what fails is to open it, or to write
        if path.is_file():
            log.error("%s: %s", path, error)
        os.close(lock)
        return _in_memory(f"{path}: {error}")
    except sqlite3.DatabaseError as error:
        return _mended(path, lock, str(error))


def locked(path: Path) -> int:
    """Takes the lock of the file at `path`: its descriptor.

    Raises:
        MachineProblem: another process has it.
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise MachineProblem(f"{path} is in use by another vedette", hint="one daemon runs one camera") from None
    return lock


def _whole(path: Path, lock: int, volatile: bool) -> Store:
    database = _connection(str(path))
    try:
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        disk = os.statvfs(path.parent)
        if disk.f_bavail * disk.f_frsize < _LEAST_FREE:
            raise sqlite3.OperationalError("the disk is full")
        database.execute("PRAGMA journal_mode = WAL")
        _lay_out(database)
    except BaseException:
        database.close()
        raise
    kind = _file_system(path.parent)
    if kind in _IN_MEMORY and not volatile:
        log.error("%s lies in memory (%s): a power cut empties it", path, kind)
        return Store(database, lock, ("volatile", {"reason": f"{path.parent} is {kind}"}))
    return Store(database, lock)


def _lay_out(database: sqlite3.Connection) -> None:
    """Makes the tables, or adds what an older release did not have; it could still read the file."""
    there = {name for _, name, *_ in database.execute("PRAGMA table_info(events)")}
    for column in ("priority INTEGER NOT NULL DEFAULT 5", "delivered INTEGER NOT NULL DEFAULT 0"):
        if there and column.split()[0] not in there:
            database.execute(f"ALTER TABLE events ADD COLUMN {column}")
    database.executescript(_SCHEMA)
    database.execute("INSERT OR IGNORE INTO facts VALUES ('epoch', ?)", (os.urandom(4).hex(),))


def _connection(target: str) -> sqlite3.Connection:
    database = sqlite3.connect(target, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA wal_autocheckpoint = 256")
    database.execute("PRAGMA journal_size_limit = 1048576")
    return database


def _in_memory(reason: str) -> Store:
    log.error("events wait in memory, and a power cut loses them: %s", reason)
    database = _connection(":memory:")
    _lay_out(database)
    return Store(database, None, ("volatile", {"reason": reason}))


def _mended(path: Path, lock: int, reason: str) -> Store:
    """A new file with what can be read of the old one, which is set aside."""
    aside = path.with_name(f"{path.stem}.corrupt-{time.time_ns()}{path.suffix}")
    for ending in ("", "-wal", "-shm"):
        if (part := Path(f"{path}{ending}")).exists():
            part.rename(f"{aside}{ending}")
    saved = tuple(_readable(aside))
    log.error("%s was corrupt (%s): set aside as %s, %d events saved", path, reason, aside.name, len(saved))
    for old in sorted(path.parent.glob(f"{path.stem}.corrupt-*{path.suffix}"))[:-KEPT_ASIDE]:
        for ending in ("", "-wal", "-shm"):
            Path(f"{old}{ending}").unlink(missing_ok=True)
    facts = {"reason": reason, "set_aside": aside.name, "saved": len(saved)}
    try:
        store = _whole(path, lock, volatile=True)
    except sqlite3.OperationalError as error:
        os.close(lock)
        return _in_memory(f"{path}: {error}")._replace(saved=saved)
    return store._replace(fault=("recovered", facts), saved=saved)


def _readable(path: Path) -> list[Saved]:
    """What still waits in a corrupt file: from its beginning as far as it goes, then from its end."""
    found: dict[int, Saved] = {}
    for order in ("ASC", "DESC"):
        database = sqlite3.connect(path)
        try:
            for sequence, body, priority in database.execute(
                "SELECT sequence, body, priority FROM events NOT INDEXED WHERE NOT delivered AND refused IS NULL "
                f"ORDER BY sequence {order}"
            ):
                if isinstance(body, bytes) and sequence not in found:
                    found[sequence] = Saved(body, priority)
        except sqlite3.Error:
            pass  # here it ends; the other end may go further
        finally:
            database.close()
    return [found[sequence] for sequence in sorted(found)]


def _file_system(folder: Path) -> str:
    """What kind of file system `folder` lies on, as /proc/mounts calls it; empty where that cannot be told."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    place = str(folder.resolve())
    above = [(where, kind) for where, kind in mounts if place == where or place.startswith(where.rstrip("/") + "/")]
    return max(above, key=lambda each: len(each[0]), default=("", ""))[1]


def buried(rows: list[tuple[int, bytes]]) -> dict[str, int]:
    """What a tombstone for all of `rows` tells; those among them that are tombstones hand on what they stood for."""
    first, last, count = min(number for number, _ in rows), max(number for number, _ in rows), 0
    for _, body in rows:
        try:
            event = msgspec.json.decode(body, type=Event | Notice)
        except msgspec.DecodeError:
            event = None
        if isinstance(event, Notice) and event.kind == "evicted":
            first, count = min(first, event.facts["first"]), count + event.facts["count"]
        else:
            count += 1
    return {"first": first, "last": last, "count": count}
