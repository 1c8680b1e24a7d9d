"""Opens the SQLite file of the outbox, whatever its state, and recovers its events.

    intact      the file is used
    corrupt     the file is set aside, its readable rows go into a new file (outbox_salvage.py), and a system event
                reports it
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

from ..atomic_file import make_private, make_private_folder, open_private
from ..errors import MachineProblem
from . import outbox_salvage
from .outbox_salvage import Salvage
from .outbox_schema import create_schema

log = logging.getLogger(__name__)

MAX_CORRUPT_FILES = 3  # the newest corrupt files are kept
_MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")
_MIN_FREE_BYTES = 1 << 20  # with less, SQLite cannot even delete rows, because its log must grow first

SUSPECT = ".suspect"  # ending of the file that asks for a check
MAX_CHECKED_BYTES = 64 << 20  # a larger file is checked at the start only if it failed in operation


class OutboxFile(NamedTuple):
    """An open outbox database, in a file or in memory."""

    database: sqlite3.Connection
    lock: int | None
    """File descriptor of the lock file; None: the database is in memory."""
    fault: tuple[str, dict[str, Any]] | None = None
    """Kind and facts of the system event about a fault of the file."""
    salvages: tuple[Salvage, ...] = ()
    """What corrupt files still hold that this database does not."""

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
        opened = _open_intact(path, lock, volatile)
    except sqlite3.OperationalError as error:  # opening or writing fails; the file may be intact
        if path.is_file():
            log.error("%s: %s", path, error)
        os.close(lock)
        opened = _open_in_memory(f"{path}: {error}")
    except sqlite3.DatabaseError as error:
        opened = _replace_corrupt(path, lock, str(error))
    return opened._replace(salvages=opened.salvages + outbox_salvage.pending_salvages(path, opened.database))


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
        _check(database, path)
        if shutil.disk_usage(path.parent).free < _MIN_FREE_BYTES:
            raise sqlite3.OperationalError("the disk is full")
        database.execute("PRAGMA journal_mode = WAL")
        create_schema(database)
    except BaseException:
        database.close()
        raise
    kind = _file_system_type(path.parent)
    if kind in _MEMORY_FILE_SYSTEMS and not volatile:
        log.error("%s is on a file system in memory (%s): a power cut empties it", path, kind)
        return OutboxFile(database, lock, ("volatile", {"reason": f"{path.parent} is {kind}"}))
    return OutboxFile(database, lock)


def _check(database: sqlite3.Connection, path: Path) -> None:
    """Checks the file. A large one is checked only after it failed in operation, so that no start takes seconds.

    Raises:
        sqlite3.DatabaseError: it is corrupt.
    """
    suspect = path.with_suffix(SUSPECT)
    if path.stat().st_size > MAX_CHECKED_BYTES and not suspect.exists():
        database.execute("SELECT count(*) FROM sqlite_schema")  # a file that is no database is found here
        return
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    suspect.unlink(missing_ok=True)


def mark_suspect(path: Path) -> None:
    """Makes the next start check the file at `path` to the end."""
    with contextlib.suppress(OSError):
        path.with_suffix(SUSPECT).touch()


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
    create_schema(database)
    return OutboxFile(database, None, ("volatile", {"reason": reason}))


def _replace_corrupt(path: Path, lock: int, reason: str) -> OutboxFile:
    """Sets the corrupt file aside and opens a new one. `pending_salvages` then has what is to be recovered."""
    corrupt_path = path.with_name(f"{path.stem}.corrupt-{time.time_ns()}{path.suffix}")
    try:
        outbox_salvage.remember_corrupt_file(path, corrupt_path.name, reason)
    except MachineProblem as problem:  # the file stays where it is; its events are recovered at each start until then
        os.close(lock)
        return _open_in_memory(problem.message)._replace(salvages=(outbox_salvage.read_salvage(path, reason),))
    for ending in ("", "-wal", "-shm"):
        if (part := Path(f"{path}{ending}")).exists():
            part.rename(f"{corrupt_path}{ending}")
    path.with_suffix(SUSPECT).unlink(missing_ok=True)
    log.error("%s was corrupt (%s): set aside as %s", path, reason, corrupt_path.name)
    needed = outbox_salvage.listed_files(path)
    for old in sorted(path.parent.glob(f"{path.stem}.corrupt-*{path.suffix}"))[:-MAX_CORRUPT_FILES]:
        for ending in ("", "-wal", "-shm") if old.name not in needed else ():
            Path(f"{old}{ending}").unlink(missing_ok=True)
    try:
        return _open_intact(path, lock, volatile=True)
    except sqlite3.OperationalError as error:
        os.close(lock)
        return _open_in_memory(f"{path}: {error}")


def _file_system_type(folder: Path) -> str:
    """Type of the file system of `folder`, as in /proc/mounts; empty if unknown."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    path = str(folder.resolve())
    above = [(point, kind) for point, kind in mounts if path == point or path.startswith(point.rstrip("/") + "/")]
    return max(above, key=lambda mount: len(mount[0]), default=("", ""))[1]
