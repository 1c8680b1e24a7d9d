"""Room in the outbox file: its size limit, and what is evicted when it is full.

SQLite needs free disk space even for a DELETE, so the limit is SQLite's page count, which takes effect while the disk
has space. If the disk has less than `min_free` left, the limit is the present size. A full outbox evicts the journal
first, then the events of the lowest priority, oldest first. A tombstone in the sequence records which were evicted.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..errors import UNREADABLE
from .event import SYSTEM_PRIORITY, Event, SystemEvent
from .outbox_cursors import SinkCursors
from .outbox_salvage import record_progress
from .outbox_schema import EventCounts

MIN_PAGES = 32  # of the size limit; about ten hold tables and indexes
BATCH_ROWS = 64  # rows evicted or restored at a time
TOMBSTONE_PRIORITY = SYSTEM_PRIORITY + 1
MAX_EVENT_SHARE, MAX_EVENT_BYTES = 0.125, 256 << 10  # of the size limit; a larger event is truncated, so that it fits
MAX_NAME_LENGTH = 200  # characters of a name in a truncated event
_INSERT = "INSERT INTO events (body, priority) VALUES (?, ?) RETURNING sequence"
_ROW_BYTES = 64  # of a row beside its body, with its entries in the indexes
_SPARE_PAGES = 2  # kept free beside those of the largest event: marking an event as refused writes it anew


class StoredRow(NamedTuple):
    """A row of the table `events`."""

    sequence: int
    body: bytes
    delivered: int = 0
    """1: the broker has it."""


class OutboxSpace:
    """The size limit of an outbox database, and room in it. Methods run within the caller's lock.

    Args:
        database: the database
        counts: numbers of its events, kept up to date
        cursors: of the sinks beside the broker
        folder: the folder of its file; None: it is in memory
        max_bytes: size limit
        min_free: free bytes on the disk below which the file does not grow over the smallest limit
        encode_tombstone: makes the body of the system event about evicted events from its facts
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        counts: EventCounts,
        cursors: SinkCursors,
        folder: Path | None,
        max_bytes: int,
        min_free: int,
        encode_tombstone: Callable[[dict[str, Any]], bytes],
    ) -> None:
        self.database, self.counts, self.folder, self.min_free = database, counts, folder, min_free
        self.cursors, self.encode_tombstone = cursors, encode_tombstone
        self.page_bytes = self._pragma("page_size")
        self.max_pages = max(max_bytes // self.page_bytes, MIN_PAGES)
        self.page_limit = 0
        self.followers: list[Callable[[Sequence[bytes]], None]] = []
        """Called with the bodies of new events, in the transaction that stores them."""
        self.enforce_limit()

    @property
    def max_event_bytes(self) -> int:
        """Size of the largest event that is stored whole, with the present limit."""
        return min(int(MAX_EVENT_SHARE * self.page_limit * self.page_bytes), MAX_EVENT_BYTES)

    @property
    def _spare_pages(self) -> int:
        return _SPARE_PAGES + self.max_event_bytes // self.page_bytes

    def enforce_limit(self, recovering: bool = False) -> None:
        """Sets SQLite's page limit.

        While events of a corrupt file are recovered, `min_free` does not count: they were on the same disk before.
        """
        limit = self.max_pages
        if (
            self.min_free
            and not recovering
            and self.folder is not None
            and shutil.disk_usage(self.folder).free < self.min_free
        ):
            limit = min(limit, max(self._pragma("page_count"), MIN_PAGES))
        if limit != self.page_limit:
            self.database.execute(f"PRAGMA max_page_count = {limit}")
            self.page_limit = limit

    def insert(self, rows: Sequence[tuple[bytes, int]], salvage: tuple[str, int | None] | None = None) -> list[int]:
        """Inserts rows in one transaction, with as much eviction as it takes; returns their sequence numbers.

        Rows that have no room together, even in an empty outbox, are inserted in several transactions.

        Args:
            rows: body and priority of each
            salvage: corrupt file that the rows come from, and the last sequence number there (`record_progress`)

        Raises:
            sqlite3.DatabaseError: they cannot be stored.
        """
        if not rows:
            return []
        full: sqlite3.OperationalError | None = None
        for pages in self._room_to_try([body for body, _ in rows]):
            try:
                return self._insert_with_room(pages, rows, salvage)
            except sqlite3.OperationalError as error:
                self.counts.forget()
                if "full" not in str(error):  # SQLite's message at the page limit and on a full disk
                    raise
                full = error
        if len(rows) == 1:
            raise full or sqlite3.OperationalError("full")
        half = len(rows) // 2
        return self.insert(rows[:half]) + self.insert(rows[half:], salvage)

    def _insert_with_room(
        self, pages: int, rows: Sequence[tuple[bytes, int]], salvage: tuple[str, int | None] | None
    ) -> list[int]:
        """Makes `pages` free and inserts the rows, or changes nothing and raises sqlite3.OperationalError."""
        execute = self.database.execute
        with self.database:
            execute("BEGIN IMMEDIATE")
            if pages and self._make_room(pages):
                self.counts.forget()
            numbers = [int(execute(_INSERT, row).fetchone()[0]) for row in rows]
            if salvage is None:
                bodies = [body for body, _ in rows]
                for follow in self.followers:
                    follow(bodies)
            else:
                record_progress(self.database, *salvage)
            if pages < self.page_limit and not self._has_free_pages(self._spare_pages):
                raise sqlite3.OperationalError("full but for the spare pages")
        self.counts.change(dict.fromkeys(self.counts.arriving, len(numbers)))
        return numbers

    def _room_to_try(self, bodies: Sequence[bytes]) -> Iterator[int]:
        """Pages to make free for these rows, from what they should need to the whole file; the first try needs none."""
        yield 0
        pages = self._spare_pages + 2 + sum(len(body) + _ROW_BYTES for body in bodies) * 5 // (4 * self.page_bytes)
        while pages < self.page_limit:
            yield pages
            pages *= 2
        yield self.page_limit

    def _make_room(self, pages: int) -> bool:
        """Evicts until so many pages are free, or nothing is left to evict; returns whether anything was evicted.

        Runs within a transaction. What was in the journal needs no tombstone.
        """
        columns = "SELECT sequence, body, delivered FROM events WHERE"
        journal = f"{columns} {self.cursors.is_journal} ORDER BY sequence LIMIT ?"
        lowest = f"{columns} priority < ? ORDER BY priority, sequence LIMIT ?"
        changed, missing = False, set[str]()
        while not self._has_free_pages(pages) and self._delete_rows(journal, BATCH_ROWS):
            changed = True
        evicted: list[StoredRow] = []
        while not self._has_free_pages(pages) and (rows := self._delete_rows(lowest, TOMBSTONE_PRIORITY, BATCH_ROWS)):
            evicted += rows
            missing |= self.cursors.forget([(row.sequence, bool(row.delivered)) for row in rows])
        if evicted:
            tombstones = self._delete_rows(f"{columns} priority = ?", TOMBSTONE_PRIORITY)
            self.cursors.forget([(row.sequence, True) for row in tombstones])
            tombstone = self.encode_tombstone(merge_tombstones([*evicted, *tombstones], missing))
            self.database.execute(_INSERT, (tombstone, TOMBSTONE_PRIORITY)).fetchone()
        return changed or bool(evicted)

    def keep_spare(self) -> None:
        """Evicts, in the caller's transaction, if less than half of the spare pages is free: dead letters need room."""
        if not self._has_free_pages(self._spare_pages // 2) and self._make_room(self._spare_pages):
            self.counts.forget()

    def _has_free_pages(self, pages: int) -> bool:
        """True if so many are free: deleted rows free a page only if no other row is on it."""
        return self._pragma("freelist_count") + self.page_limit - self._pragma("page_count") >= pages

    def _delete_rows(self, query: str, *values: int) -> list[StoredRow]:
        """Deletes the rows that `query` selects, and returns them."""
        rows = [StoredRow(*row) for row in self.database.execute(query, values)]
        places = ",".join("?" * len(rows))
        self.database.execute(f"DELETE FROM events WHERE sequence IN ({places})", [row.sequence for row in rows])
        return rows

    def _pragma(self, name: str) -> int:
        return int(self.database.execute(f"PRAGMA {name}").fetchone()[0])


def merge_tombstones(rows: Sequence[StoredRow], missing: Collection[str] = ()) -> dict[str, Any]:
    """The facts of a tombstone for evicted `rows`: first and last sequence number, and the number of events.

    A tombstone among the rows is merged into the new one. `missing`: the sinks that miss one of the events, if there
    are others than the broker.
    """
    sinks = set(missing)
    first, last, count = min(row.sequence for row in rows), max(row.sequence for row in rows), 0
    for row in rows:
        try:
            event = msgspec.json.decode(row.body, type=Event | SystemEvent)
        except UNREADABLE:
            event = None
        facts = event.facts if isinstance(event, SystemEvent) and event.kind == "evicted" else {}
        if all(isinstance(facts.get(name), int) for name in ("first", "count")):
            first, count = min(first, facts["first"]), count + facts["count"]
            sinks |= set(facts.get("sinks", ()))
        else:
            count += 1
    return {"first": first, "last": last, "count": count} | ({"sinks": sorted(sinks)} if sinks else {})


class EncodedRecord(NamedTuple):
    """A record as it is stored."""

    body: bytes
    priority: int
    bytes: int
    """Size of the whole record; more than that of the body if it is truncated."""


def encode_record(record: Event | SystemEvent, max_bytes: int) -> EncodedRecord:
    """The record, without what makes it larger than `max_bytes`: first the states of the subject and the predictions of
    the lowest scores, at last all predictions and facts.
    """
    body = msgspec.json.encode(record)
    size = len(body)
    if size > max_bytes and isinstance(record, SystemEvent):
        body = msgspec.json.encode(msgspec.structs.replace(record, facts={"truncated": size}))
    elif size > max_bytes and isinstance(record, Event):
        shorter = msgspec.structs.replace(record, before=None, after=None)
        names = {name: getattr(record, name)[:MAX_NAME_LENGTH] for name in ("camera", "rule", "model")}
        shorter = msgspec.structs.replace(shorter, **names)
        predictions = sorted(record.predictions, key=lambda each: -each.score)
        while len(body := msgspec.json.encode(shorter)) > max_bytes and predictions:
            predictions = predictions[: len(predictions) // 2]
            shorter = msgspec.structs.replace(shorter, predictions=tuple(predictions))
    return EncodedRecord(body, record.priority, size)
