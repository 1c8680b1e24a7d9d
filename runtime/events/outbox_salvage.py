"""Recovery of the pending events of a corrupt outbox file.

Before a corrupt file is renamed, a list beside it, `outbox.salvage`, names it. The list is emptied when all its events
are in the new database; how far that is, the database itself says, in the same transaction as the events. So a crash,
a power cut or a full disk in between only delays the recovery to a later start.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..atomic_file import write_atomically
from ..errors import UNREADABLE
from .outbox_schema import IS_PENDING

_FINISHED = "finished"


class SalvagedRow(NamedTuple):
    """A row recovered from a corrupt file."""

    sequence: int
    """In the corrupt file."""
    body: bytes
    priority: int


class Salvage(NamedTuple):
    """The pending events of a corrupt file that are not in the new database, oldest first."""

    name: str
    """Of the corrupt file."""
    reason: str
    total: int
    """Readable pending events in the corrupt file."""
    rows: tuple[SalvagedRow, ...]
    finished: bool = False
    """Whether all is recovered and reported, and only the list is not up to date."""


class CorruptFile(msgspec.Struct, frozen=True):
    """An entry of the list."""

    name: str
    reason: str


def remember_corrupt_file(path: Path, name: str, reason: str) -> None:
    """Enters a corrupt file into the list beside the outbox file at `path`.

    Raises:
        MachineProblem: the list cannot be written.
    """
    _write_list(path, [*_read_list(path), CorruptFile(name, reason)])


def forget_corrupt_file(path: Path, name: str) -> None:
    """Takes a corrupt file, whose events are all recovered, from the list.

    Raises:
        MachineProblem: the list cannot be written.
    """
    _write_list(path, [each for each in _read_list(path) if each.name != name])


def listed_files(path: Path) -> set[str]:
    """Names of the corrupt files that still have to be recovered."""
    return {each.name for each in _read_list(path)}


def pending_salvages(path: Path, database: sqlite3.Connection) -> tuple[Salvage, ...]:
    """What corrupt files still hold that the database does not."""
    salvages = []
    for each in _read_list(path):
        corrupt = path.with_name(each.name)
        (done,) = database.execute("SELECT max(value) FROM facts WHERE name = ?", (_key(each.name),)).fetchone()
        if corrupt.is_file() and done != _FINISHED:
            salvages.append(read_salvage(corrupt, each.reason, int(done) if done and done.isdecimal() else 0))
        elif done is None:  # it was never renamed, or somebody deleted it
            forget_corrupt_file(path, each.name)
        else:
            salvages.append(Salvage(each.name, each.reason, 0, (), finished=True))
    return tuple(salvages)


def read_salvage(path: Path, reason: str, after: int = 0) -> Salvage:
    """Reads the pending events of a corrupt file, from the start until an error, then from the end.

    Args:
        path: the corrupt file
        reason: what is wrong with it
        after: events up to this sequence number of the file are recovered already
    """
    rows: dict[int, SalvagedRow] = {}
    wanted = _wanted_events(path)
    for order in ("ASC", "DESC"):
        database = sqlite3.connect(path)
        try:
            for sequence, body, priority in database.execute(
                f"SELECT sequence, body, priority FROM events NOT INDEXED WHERE {wanted} ORDER BY sequence {order}"
            ):
                if isinstance(body, bytes) and sequence not in rows:
                    rows[sequence] = SalvagedRow(sequence, body, priority)
        except sqlite3.Error:
            pass  # the rows after the error are read from the other end
        finally:
            database.close()
    remaining = tuple(rows[sequence] for sequence in sorted(rows) if sequence > after)
    return Salvage(path.name, reason, len(rows), remaining)


def _wanted_events(path: Path) -> str:
    """The condition of the pending events of a corrupt file: those that a sink beside the broker waits for, too.

    Whatever waits comes to all sinks again, with its old `id`.
    """
    database = sqlite3.connect(path)
    try:
        (settled,) = database.execute("SELECT min(settled) FROM sink_cursors").fetchone()
    except sqlite3.Error:  # there are no such sinks, or the table is damaged
        return IS_PENDING
    finally:
        database.close()
    return IS_PENDING if settled is None else f"({IS_PENDING} OR sequence > {int(settled)})"


def record_progress(database: sqlite3.Connection, name: str, sequence: int | None) -> None:
    """Records, in the caller's transaction, that all events up to `sequence` are recovered; None: all events."""
    value = _FINISHED if sequence is None else str(sequence)
    database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_key(name), value))


def _key(name: str) -> str:
    return f"salvaged {name}"


def _list_path(path: Path) -> Path:
    return path.with_suffix(".salvage")


def _read_list(path: Path) -> list[CorruptFile]:
    try:
        entries = msgspec.json.decode(_list_path(path).read_bytes(), type=list[CorruptFile])
    except (OSError, *UNREADABLE):
        return []
    return [each for each in entries if each.name.startswith(path.stem) and "/" not in each.name]


def _write_list(path: Path, entries: list[CorruptFile]) -> None:
    if entries:
        write_atomically(_list_path(path), msgspec.json.encode(entries), "check the disk of the state folder")
    else:
        _list_path(path).unlink(missing_ok=True)
