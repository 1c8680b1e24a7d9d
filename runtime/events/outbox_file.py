"""Opens the SQLite file of the outbox, whatever its state, and recovers its events.

    intact      the file is used
    corrupt     the file is set aside, its readable rows go into a new file, and a system event reports it
    unwritable  read-only disk, full disk or missing permission: events stay in memory, and a system event reports it
    volatile    a file system in memory: the file is used, and a system event reports that a power cut empties it

The daemon starts in every case, because a device that cannot store events is still useful. A system event reports each
guarantee that is lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..atomic_file import make_private, make_private_folder, open_private
from ..errors import MachineProblem
from .event import Event, SystemEvent

log = logging.getLogger(__name__)

MAX_CORRUPT_FILES = 3  # the newest corrupt files are kept
_MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")
_MIN_FREE_BYTES = 1 << 20  # with less, SQLite cannot even delete rows, because its log must grow first

IS_PENDING, IS_DEAD_LETTER = "refused IS NULL AND NOT delivered", "refused IS NOT NULL"
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS events (
    sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
    body      BLOB NOT NULL,
    refused   TEXT,
    priority  INTEGER NOT NULL DEFAULT 5,
    delivered INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS waiting ON events (sequence) WHERE {IS_PENDING};
CREATE INDEX IF NOT EXISTS journal ON events (sequence) WHERE delivered;
CREATE INDEX IF NOT EXISTS dead ON events (sequence) WHERE {IS_DEAD_LETTER};
"""


class SalvagedRow(NamedTuple):
    """A row recovered from a corrupt file."""

    body: bytes
    priority: int


class OutboxFile(NamedTuple):
    """An open outbox database, in a file or in memory."""

    database: sqlite3.Connection
    lock: int | None
    """File descriptor of the lock file; None: the database is in memory."""
    fault: tuple[str, dict[str, Any]] | None = None
    """Kind and facts of the system event about a fault of the file."""
    salvaged: tuple[SalvagedRow, ...] = ()
    """Pending events recovered from a corrupt file, oldest first."""

    def close(self) -> None:
        """Closes the database and releases the lock."""
        self.database.close()
        if self.lock is not None:
            os.close(self.lock)


def open_outbox_file(path: Path, volatile: bool = False) -> OutboxFile:
    """Opens or creates the file at `path`, or its replacement. `volatile`: a file system in memory is no fault.

    Raises:
        MachineProblem: another process uses the file.
    """
    try:
        lock = lock_file(path)
    except OSError as error:
        return _open_in_memory(f"{path.parent}: {error.strerror}")
    try:
        return _open_intact(path, lock, volatile)
    except sqlite3.OperationalError as error:  # opening or writing fails; the file may be intact
        if path.is_file():
            log.error("%s: %s", path, error)
        os.close(lock)
        return _open_in_memory(f"{path}: {error}")
    except sqlite3.DatabaseError as error:
        return _replace_corrupt(path, lock, str(error))


def lock_file(path: Path) -> int:
    """Locks the file at `path` by a lock file beside it; returns the descriptor of the lock file.

    Raises:
        MachineProblem: another process has the lock.
        OSError: the folder is not writable.
    """
    make_private_folder(path.parent)
    for file in (path, *(path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm"))):
        make_private(file)  # files of older releases
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise MachineProblem(
            f"{path} is in use by another vedette", hint="run only one daemon for each camera"
        ) from None
    return lock


def _open_intact(path: Path, lock: int, volatile: bool) -> OutboxFile:
    database = _connect(str(path))
    try:
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        if shutil.disk_usage(path.parent).free < _MIN_FREE_BYTES:
            raise sqlite3.OperationalError("the disk is full")
        database.execute("PRAGMA journal_mode = WAL")
        _create_schema(database)
    except BaseException:
        database.close()
        raise
    kind = _file_system_type(path.parent)
    if kind in _MEMORY_FILE_SYSTEMS and not volatile:
        log.error("%s is on a file system in memory (%s): a power cut empties it", path, kind)
        return OutboxFile(database, lock, ("volatile", {"reason": f"{path.parent} is {kind}"}))
    return OutboxFile(database, lock)


def _create_schema(database: sqlite3.Connection) -> None:
    """Creates the tables, or adds the columns that older releases lack; those can still read the file."""
    existing = {name for _, name, *_ in database.execute("PRAGMA table_info(events)")}
    for column in ("priority INTEGER NOT NULL DEFAULT 5", "delivered INTEGER NOT NULL DEFAULT 0"):
        if existing and column.split()[0] not in existing:
            database.execute(f"ALTER TABLE events ADD COLUMN {column}")
    database.executescript(_SCHEMA)
    database.execute("INSERT OR IGNORE INTO facts VALUES ('epoch', ?)", (os.urandom(4).hex(),))


def _connect(target: str) -> sqlite3.Connection:
    if target != ":memory:":
        with contextlib.suppress(OSError):  # else SQLite creates it as the umask says
            os.close(open_private(target, os.O_RDWR | os.O_CREAT))
    database = sqlite3.connect(target, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA wal_autocheckpoint = 256")
    database.execute("PRAGMA journal_size_limit = 1048576")
    return database


def _open_in_memory(reason: str) -> OutboxFile:
    log.error("events are stored in memory, and a power cut loses them: %s", reason)
    database = _connect(":memory:")
    _create_schema(database)
    return OutboxFile(database, None, ("volatile", {"reason": reason}))


def _replace_corrupt(path: Path, lock: int, reason: str) -> OutboxFile:
    """Sets the corrupt file aside and opens a new one; recovers the readable rows."""
    corrupt_path = path.with_name(f"{path.stem}.corrupt-{time.time_ns()}{path.suffix}")
    for ending in ("", "-wal", "-shm"):
        if (part := Path(f"{path}{ending}")).exists():
            part.rename(f"{corrupt_path}{ending}")
    salvaged = tuple(_salvage(corrupt_path))
    log.error(
        "%s was corrupt (%s): set aside as %s, %d events recovered", path, reason, corrupt_path.name, len(salvaged)
    )
    for old in sorted(path.parent.glob(f"{path.stem}.corrupt-*{path.suffix}"))[:-MAX_CORRUPT_FILES]:
        for ending in ("", "-wal", "-shm"):
            Path(f"{old}{ending}").unlink(missing_ok=True)
    facts = {"reason": reason, "set_aside": corrupt_path.name, "saved": len(salvaged)}
    try:
        replacement = _open_intact(path, lock, volatile=True)
    except sqlite3.OperationalError as error:
        os.close(lock)
        return _open_in_memory(f"{path}: {error}")._replace(salvaged=salvaged)
    return replacement._replace(fault=("recovered", facts), salvaged=salvaged)


def _salvage(path: Path) -> list[SalvagedRow]:
    """Reads the pending events of a corrupt file, from the start until an error, then from the end."""
    rows: dict[int, SalvagedRow] = {}
    for order in ("ASC", "DESC"):
        database = sqlite3.connect(path)
        try:
            for sequence, body, priority in database.execute(
                f"SELECT sequence, body, priority FROM events NOT INDEXED WHERE {IS_PENDING} ORDER BY sequence {order}"
            ):
                if isinstance(body, bytes) and sequence not in rows:
                    rows[sequence] = SalvagedRow(body, priority)
        except sqlite3.Error:
            pass  # the rows after the error are read from the other end
        finally:
            database.close()
    return [rows[sequence] for sequence in sorted(rows)]


def _file_system_type(folder: Path) -> str:
    """Type of the file system of `folder`, as in /proc/mounts; empty if unknown."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    path = str(folder.resolve())
    above = [(point, kind) for point, kind in mounts if path == point or path.startswith(point.rstrip("/") + "/")]
    return max(above, key=lambda mount: len(mount[0]), default=("", ""))[1]


def merge_tombstones(rows: list[tuple[int, bytes]]) -> dict[str, int]:
    """The facts of a tombstone for evicted `rows`: first and last sequence number, and the number of events.

    A tombstone among the rows is merged into the new one.
    """
    first, last, count = min(number for number, _ in rows), max(number for number, _ in rows), 0
    for _, body in rows:
        try:
            event = msgspec.json.decode(body, type=Event | SystemEvent)
        except msgspec.DecodeError:
            event = None
        if isinstance(event, SystemEvent) and event.kind == "evicted":
            first, count = min(first, event.facts["first"]), count + event.facts["count"]
        else:
            count += 1
    return {"first": first, "last": last, "count": count}
