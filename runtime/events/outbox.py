"""The outbox: a durable queue of events until the broker acknowledges them.

Guarantee: once `put` returns, the event survives a crash and a power cut, and it stays until the broker acknowledges
it. SQLite in WAL mode with synchronous=FULL gives durability (with NORMAL, power cuts lost up to 357 committed rows).
Acknowledged events stay for a while as a journal, so that they can be replayed if the broker loses them.

The size of the file is limited. A full outbox evicts the journal first, then the events of the lowest priority
(outbox_space.py). A tombstone in the sequence records which events were evicted.

One process owns the file, by a lock file, and uses one connection: SQLite before 3.51.3 can corrupt a WAL that two
connections write at the same time.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ..clock import Clock
from ..config.configuration import Config
from ..errors import UNREADABLE, MachineProblem
from . import outbox_file
from .event import SYSTEM_PRIORITY, Event, SystemEvent, make_system_event, stamp_time
from .journal_replay import JournalReplay
from .outbox_cursors import SinkCursors
from .outbox_salvage import Salvage, forget_corrupt_file
from .outbox_schema import IS_DEAD_LETTER, IS_PENDING, EventCounts
from .outbox_space import BATCH_ROWS, OutboxSpace, encode_record

log = logging.getLogger(__name__)

JOURNAL_ROWS = 10_000  # default number of delivered events to keep
_MAX_BYTES_IN_MEMORY = 8 << 20
FILE_NAME = "outbox.db"
_DELIVERED = "SELECT sequence FROM events WHERE delivered AND"


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
        sinks: names of the sinks beside the broker (outbox_cursors.py)
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
        sinks: Sequence[str] = (),
    ) -> None:
        self.path, self.journal, self.camera = path, journal, camera
        self.clock = clock or Clock()
        self.mutex = threading.Lock()
        self.file = outbox_file.open_outbox_file(path, volatile)
        self.database = self.file.database
        folder = path.parent if self.is_durable else None
        limit = max_bytes if self.is_durable else min(max_bytes, _MAX_BYTES_IN_MEMORY)
        self.counts, encode_tombstone = EventCounts(self.database), partial(self._encode_report, "evicted")
        self.journal_replay = JournalReplay(self.database, self.counts)
        self.cursors, execute = SinkCursors(self.database, self.counts, sinks), self.database.execute
        self.epoch: str = execute("SELECT value FROM facts WHERE name = 'epoch'").fetchone()[0]
        with self.transaction():
            execute(f"UPDATE events SET refused = NULL WHERE {IS_DEAD_LETTER}")  # dead letters are sent again
            self.cursors.configure()
        self.space = OutboxSpace(self.database, self.counts, self.cursors, folder, limit, min_free, encode_tombstone)
        for salvage in self.file.salvages:
            self._recover(salvage)
        if self.file.fault is not None:
            self.put_system_event("outbox", *self.file.fault)

    @classmethod
    def from_config(cls, settings: Config) -> Outbox:
        """Opens the outbox of a camera with its configured limits."""
        limits, path, sinks = settings.outbox, settings.state_folder / FILE_NAME, [each.name for each in settings.sinks]
        keep = (limits.max_bytes, limits.min_free, limits.journal, limits.volatile)
        return cls(path, *keep, settings.camera, sinks=sinks)

    @property
    def is_durable(self) -> bool:
        """True if the outbox is a file; False if it is in memory."""
        return self.file.lock is not None

    def put(self, *records: Event | SystemEvent) -> int:
        """Stores records durably; returns the sequence number of the last one. See `put_all`."""
        return max(self.put_all(records), default=0)

    def put_all(self, records: Sequence[Event | SystemEvent]) -> list[int]:
        """Stores records durably, all or none; returns their sequence numbers.

        Records that have no room together, even in an empty outbox, are stored in several steps. A record that is
        larger than `OutboxSpace.max_event_bytes` is truncated, and a system event says so.

        Raises:
            MachineProblem: the database cannot store them, even after an eviction.
        """
        with self.transaction():
            self.space.enforce_limit()
            limit = self.space.max_event_bytes
            rows = [encode_record(stamp_time(record, self.clock), limit) for record in records]
            numbers = self.space.insert([(row.body, row.priority) for row in rows])
        for number, row in zip(numbers, rows, strict=True):
            if len(row.body) < row.bytes:
                log.warning("event %d was truncated from %d to %d bytes", number, row.bytes, len(row.body))
                self.put_system_event("outbox", "truncated", {"sequence": number, "bytes": row.bytes})
        return numbers

    def put_system_event(self, rule: str, kind: str, facts: dict[str, Any]) -> None:
        """Stores an event about the device itself."""
        self.put(make_system_event(self.camera, rule, kind, facts, self.clock))

    def _recover(self, salvage: Salvage) -> None:
        """Stores the events of a corrupt file, and reports it. What does not succeed is left to the next start."""
        facts = {"reason": salvage.reason, "set_aside": salvage.name, "saved": salvage.total}
        try:
            for start in range(0, len(salvage.rows), BATCH_ROWS):
                batch = salvage.rows[start : start + BATCH_ROWS]
                with self.transaction():
                    self.space.enforce_limit(recovering=True)
                    self.space.insert([(row.body, row.priority) for row in batch], (salvage.name, batch[-1].sequence))
            if not self.is_durable:
                return  # a later start recovers them into a file
            if not salvage.finished:
                with self.transaction():
                    self.space.insert(
                        [(self._encode_report("recovered", facts), SYSTEM_PRIORITY)], (salvage.name, None)
                    )
            forget_corrupt_file(self.path, salvage.name)
        except MachineProblem as problem:
            log.error("not all events of %s were recovered, the next start goes on: %s", salvage.name, problem.message)

    def _encode_report(self, kind: str, facts: dict[str, Any]) -> bytes:
        report = make_system_event(self.camera, "outbox", kind, facts, self.clock)
        return msgspec.json.encode(stamp_time(report, self.clock))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Admits one thread at a time; rolls back on a database error and raises it as MachineProblem."""
        with self.mutex:
            try:
                yield
            except sqlite3.DatabaseError as error:
                self.counts.forget()
                with suppress(sqlite3.DatabaseError):
                    if self.database.in_transaction:
                        self.database.execute("ROLLBACK")
                if self.is_durable and not isinstance(error, sqlite3.OperationalError):
                    outbox_file.mark_suspect(self.path)
                raise MachineProblem(f"{self.path}: {error}", hint="check the disk of the state folder") from None

    def read_after(self, sequence: int, limit: int) -> list[SequencedEvent]:
        """The oldest pending events after `sequence`, at most `limit`."""
        query = f"SELECT sequence, body FROM events WHERE sequence > ? AND {IS_PENDING} ORDER BY sequence LIMIT ?"
        with self.transaction():
            rows = self.database.execute(query, (sequence, limit)).fetchall()
        return self._decode(rows)

    def read_replays(self, sequence: int, limit: int) -> list[SequencedEvent]:
        """The oldest events to send again after `sequence`, at most `limit`."""
        with self.transaction():
            rows = self.journal_replay.read(sequence, limit)
        return self._decode(rows)

    def _decode(self, rows: Sequence[tuple[int, bytes]]) -> list[SequencedEvent]:
        readable = []
        for number, body in rows:
            try:
                readable.append(SequencedEvent(number, msgspec.json.decode(body, type=Event | SystemEvent)))
            except UNREADABLE as error:
                self.mark_dead_letter(number, f"unreadable: {error}")
        return readable

    def acknowledge(self, sequences: list[int]) -> None:
        """Moves delivered events to the journal and deletes its oldest events."""
        among = f"sequence IN ({','.join('?' * len(sequences))})"
        with self.transaction():
            execute = self.database.execute
            execute("BEGIN IMMEDIATE")
            self.journal_replay.acknowledge([row[0] for row in execute(f"{_DELIVERED} {among}", sequences)])
            moved = execute(f"UPDATE events SET delivered = 1 WHERE {among} AND {IS_PENDING}", sequences).rowcount
            if self.cursors.trim(max(sequences) - self.journal):
                self.journal_replay.forget_count()
            execute("COMMIT")
            self.counts.change({IS_PENDING: -moved})

    def replay(self, first: int, last: int) -> int:
        """Events in the journal, from `first` to `last`, will be sent again; returns their number.

        They stay in the journal, so that new events come first, and are the first to go if the outbox is full. A replay
        that still runs ends.
        """
        with self.transaction():
            return self.journal_replay.start(first, last)

    def mark_dead_letter(self, sequence: int, reason: str) -> None:
        """Marks an event as refused by the broker: it is kept, and does not block later events."""
        with self.transaction():
            refuse = f"UPDATE events SET refused = ? WHERE sequence = ? AND {IS_PENDING}"
            number = self.database.execute(refuse, (reason, sequence)).rowcount
            self.counts.change({IS_PENDING: -number, IS_DEAD_LETTER: number})
            self.journal_replay.acknowledge([sequence])  # a replayed event was delivered once: it stays in the journal

    def count_pending(self) -> int:
        """Number of events that wait for delivery, without those that are sent again."""
        return self._count(IS_PENDING)

    def count_replays(self) -> int:
        """Number of delivered events that wait to be sent again."""
        with self.transaction():
            return self.journal_replay.count()

    def count_dead_letters(self) -> int:
        """Number of events that the broker has refused."""
        return self._count(IS_DEAD_LETTER)

    def _count(self, state: str) -> int:
        with self.transaction():
            return self.counts[state]

    def close(self) -> None:
        with self.transaction():
            self.file.close()
