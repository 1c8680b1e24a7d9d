"""Counters of parts: yield, rejects by region and label, errors by reason; by product, shift and hour.

They are in the database of the outbox, and change in the transaction that stores the event of a verdict. So after a
crash or a power cut they count exactly the verdicts that are stored, however the cut fell. Evicted and delivered events
stay counted. Of a corrupt file that was set aside the readable counters are taken over.

The time of the verdict decides the shift, as the wall clock showed it. If the clock was not known to be synchronized
and is later in the same boot, what was counted before moves to the shift in which it was made, to the quarter of an
hour. The newest rows stay, whatever the clock says: setting it forward deletes nothing.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from ..config.configuration import Config
from ..errors import UNREADABLE
from ..statistics.shift_calendar import ShiftCalendar
from . import part_count_tables as tables
from .event import SystemEvent
from .outbox import Outbox
from .part_count_tables import SPAN_SECONDS, CountRow, PartId, ScoreRow
from .part_rejects import add_reject
from .part_verdict import PartVerdict

log = logging.getLogger(__name__)

RULE, KIND = "part", "verdict"
UNREADABLE_VERDICT = "unreadable"
"""Reason under which a verdict counts as an error whose event lost its facts."""
_MARK = b'"kind":"verdict"'
_ROW_BYTES, _SHARE, _MAX_ROWS = 120, 8, 60_000  # the counters take about an eighth of the file, at most 7 MB
_OTHER_SHARE = 0.3  # rows of events and serial numbers, each, to those of the counters
_REJECT_SHARE = 0.05  # the same of rejected parts with their facts: at most 3,000, about 2 MB
_MINUTE = 60.0


class PartCounts:
    """The counters of one camera; they follow from its outbox.

    Args:
        outbox: that stores the verdicts
        calendar: the shifts
        max_bytes: limit of the outbox
    """

    def __init__(self, outbox: Outbox, calendar: ShiftCalendar, max_bytes: int) -> None:
        self.outbox, self.calendar, self.database = outbox, calendar, outbox.database
        self.keep = min(max_bytes // (_SHARE * _ROW_BYTES), _MAX_ROWS)
        self.newest_span = 0
        self.version = 0
        """Grows with each verdict."""
        with outbox.transaction():
            self._take_over_corrupt_files(outbox.path)
            self.unsynchronized = self._boots_without_time()
            outbox.space.followers.append(self.count)

    @classmethod
    def from_config(cls, settings: Config, outbox: Outbox) -> PartCounts:
        """The counters of a camera with the shifts of its device."""
        return cls(outbox, ShiftCalendar.from_config(settings), settings.outbox.max_bytes)

    def count(self, bodies: Sequence[bytes]) -> None:
        """Counts the verdicts among the bodies of new events, within the transaction that stores them."""
        found = [record for body in bodies if (record := _read_verdict(body)) is not None]
        records = [record for record in found if not record.facts.get("reference")]
        if not records:
            return
        tables.create_part_tables(self.database)
        for record in records:
            self._count_part(record)
        self.version += 1

    def _count_part(self, record: SystemEvent) -> None:
        verdict, clock = _facts_of(record), _clock_of(record)
        if not clock:
            self._correct(record)
        else:
            self.unsynchronized.add(record.boot)
        shift, start = self.calendar.find(record.taken), int(record.taken // SPAN_SECONDS) * SPAN_SECONDS
        keep = int(_OTHER_SHARE * self.keep)
        first = not verdict.serial or tables.remember_serial(self.database, verdict.serial, verdict.product, keep)
        key = (start, shift.day, shift.name, verdict.product)
        rows = [CountRow(*key, what, name, clock, 1) for what, name in _list_counters(verdict, first)]
        tables.add_counts(self.database, rows)
        if (score := verdict.score) is not None:
            row = ScoreRow(*key, verdict.release, clock, 1, score, score * score, score, score)
            tables.add_scores(self.database, [row])
        if verdict.verdict != "accept":
            part = PartId(record.id, shift.day, shift.name, verdict.product, verdict.verdict)
            tables.add_id(self.database, part, keep)
        if verdict.verdict == "reject":
            most = int(_REJECT_SHARE * self.keep)
            add_reject(self.database, record, verdict, shift.day, shift.name, most)
        if start != self.newest_span:
            self.newest_span = start
            tables.delete_oldest(self.database, self.keep)

    def _boots_without_time(self) -> set[str]:
        if not tables.has_part_tables(self.database):
            return set()
        clocks = self.database.execute("SELECT DISTINCT clock FROM part_counts WHERE clock <> ''")
        return {clock.split()[0] for (clock,) in clocks}

    def _correct(self, record: SystemEvent) -> None:
        """Moves what this boot counted by a clock that was not synchronized, now that `record` has the right time."""
        if record.boot not in self.unsynchronized:
            return
        self.unsynchronized.discard(record.boot)
        booted = record.taken - record.boottime
        counts, scores = tables.take_by_clock(self.database, record.boot)
        tables.add_counts(self.database, [row._replace(**self._place(row, booted)) for row in counts])
        tables.add_scores(self.database, [row._replace(**self._place(row, booted)) for row in scores])

    def _place(self, row: CountRow | ScoreRow, booted: float) -> dict[str, Any]:
        """Where a row of a boot belongs that began at `booted`."""
        middle = row.start + SPAN_SECONDS / 2 + booted - _MINUTE * int(row.clock.split()[1])
        shift = self.calendar.find(middle)
        start = int(middle // SPAN_SECONDS) * SPAN_SECONDS
        return {"start": start, "day": shift.day, "shift": shift.name, "clock": ""}

    def _take_over_corrupt_files(self, path: Path) -> None:
        """Adds the counters of corrupt files that were set aside, each file once."""
        if not self.outbox.is_durable:
            return
        for corrupt in sorted(path.parent.glob(f"{path.stem}.corrupt-*{path.suffix}")):
            key = f"counted {corrupt.name}"
            if self.database.execute("SELECT 1 FROM facts WHERE name = ?", (key,)).fetchone():
                continue
            counts, scores = _read_corrupt_file(corrupt)
            with self.database:
                self.database.execute("BEGIN IMMEDIATE")
                if counts:
                    tables.create_part_tables(self.database)
                    tables.add_counts(self.database, counts)
                    tables.add_scores(self.database, scores)
                    log.warning("%s: %d rows of part counters taken over", corrupt, len(counts))
                self.database.execute("INSERT INTO facts VALUES (?, '')", (key,))


def _read_corrupt_file(path: Path) -> tuple[list[CountRow], list[ScoreRow]]:
    try:
        with closing(sqlite3.connect(path)) as database:
            if not tables.has_part_tables(database):
                return [], []
            everything = -float("inf"), float("inf")
            return tables.read_counts(database, *everything), tables.read_scores(database, *everything)
    except sqlite3.Error as error:
        log.warning("%s: its part counters cannot be read: %s", path, error)
        return [], []


def _read_verdict(body: bytes) -> SystemEvent | None:
    if _MARK not in body:
        return None
    try:
        record = msgspec.json.decode(body, type=SystemEvent)
    except UNREADABLE:
        return None
    return record if (record.rule, record.kind) == (RULE, KIND) else None


def _facts_of(record: SystemEvent) -> PartVerdict:
    """The verdict; that of an event that was too large, and lost its facts, is unreadable."""
    try:
        return msgspec.convert(record.facts, PartVerdict)
    except msgspec.ValidationError:
        return PartVerdict("", "", "error", UNREADABLE_VERDICT, None, "", (), "", "", "", "", "", 0.0)


def _list_counters(verdict: PartVerdict, first: bool) -> Iterator[tuple[str, str]]:
    """What is counted of a part: `what` and `name` of the rows."""
    yield "verdict", verdict.verdict
    if first:
        yield "first", verdict.verdict
    if verdict.verdict == "reject":
        for name in sorted({each.name for each in verdict.regions if each.name and each.verdict == "reject"}):
            yield "region", name
        if verdict.label:
            yield "label", verdict.label
    elif verdict.verdict == "error":
        yield "reason", verdict.reason


def _clock_of(record: SystemEvent) -> str:
    """Empty if the clock was synchronized, or nobody will know; else the boot and its moment by that clock, minutes."""
    if record.timequality == "synced" or not record.boot:
        return ""
    return f"{record.boot} {round((record.taken - record.boottime) / _MINUTE)}"
