"""Tables of the part counters, in the database of the outbox.

    part_counts    how often: a row for each span of 15 minutes, shift, product, and what is counted
        what       name
        verdict    accept, warn, reject, error: each part once
        first      the same, of parts whose serial number was not seen before
        region     name of a region that rejected a part
        label      label of a rejected part
        reason     why there is no verdict (`error`)
    part_scores    number, sum, sum of squares, lowest and highest of the scores of the same span, for each release
    part_ids       which shift a part that was not accepted belongs to, for reviews of its event
    part_serials   serial numbers that were seen

`clock` is empty, or names the boot and the moment of the boot by a clock that was not known to be synchronized. Once it
is, the rows of that boot move to the span in which they were made (part_counts.py).

All offsets of time zones are multiples of 15 minutes, so that a span belongs to one hour. A shift may begin within a
span; then there are rows for both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

SPAN_SECONDS = 900
_KEY = "start, day, shift, product"
_TABLES = (
    """CREATE TABLE IF NOT EXISTS part_counts (start INTEGER NOT NULL, day TEXT NOT NULL, shift TEXT NOT NULL,
    product TEXT NOT NULL, what TEXT NOT NULL, name TEXT NOT NULL, clock TEXT NOT NULL, parts INTEGER NOT NULL,
    PRIMARY KEY (start, day, shift, product, what, name, clock)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS part_scores (start INTEGER NOT NULL, day TEXT NOT NULL, shift TEXT NOT NULL,
    product TEXT NOT NULL, release TEXT NOT NULL, clock TEXT NOT NULL, parts INTEGER NOT NULL, total REAL NOT NULL,
    squares REAL NOT NULL, lowest REAL NOT NULL, highest REAL NOT NULL,
    PRIMARY KEY (start, day, shift, product, release, clock)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS part_ids (number INTEGER PRIMARY KEY, id TEXT NOT NULL, day TEXT NOT NULL,
    shift TEXT NOT NULL, product TEXT NOT NULL, verdict TEXT NOT NULL) STRICT""",
    """CREATE TABLE IF NOT EXISTS part_serials (number INTEGER PRIMARY KEY, serial TEXT NOT NULL, product TEXT NOT NULL,
    UNIQUE (serial, product)) STRICT""",
)
_ADD_COUNT = (
    f"INSERT INTO part_counts ({_KEY}, what, name, clock, parts) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET parts = parts + excluded.parts"
)
_ADD_SCORES = (
    f"INSERT INTO part_scores ({_KEY}, release, clock, parts, total, squares, lowest, highest) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET parts = parts + excluded.parts, "
    "total = total + excluded.total, squares = squares + excluded.squares, lowest = min(lowest, excluded.lowest), "
    "highest = max(highest, excluded.highest)"
)


class CountRow(NamedTuple):
    """A row of `part_counts`."""

    start: int
    """Beginning of the span, seconds since 1970, UTC."""
    day: str
    shift: str
    product: str
    what: str
    name: str
    clock: str
    parts: int


class ScoreRow(NamedTuple):
    """A row of `part_scores`."""

    start: int
    day: str
    shift: str
    product: str
    release: str
    clock: str
    parts: int
    total: float
    squares: float
    lowest: float
    highest: float


class PartId(NamedTuple):
    """A row of `part_ids`."""

    id: str
    """`id` of the event."""
    day: str
    shift: str
    product: str
    verdict: str


def create_part_tables(database: sqlite3.Connection) -> None:
    """Creates the tables that are not there."""
    for table in _TABLES:
        database.execute(table)


def has_part_tables(database: sqlite3.Connection) -> bool:
    """Whether any part was ever counted."""
    names = "('part_counts', 'part_scores', 'part_ids', 'part_serials')"
    (found,) = database.execute(f"SELECT count(*) FROM sqlite_schema WHERE name IN {names}").fetchone()
    return bool(found == len(_TABLES))


def add_counts(database: sqlite3.Connection, rows: Iterable[CountRow]) -> None:
    """Adds to the counters."""
    database.executemany(_ADD_COUNT, rows)


def add_scores(database: sqlite3.Connection, rows: Iterable[ScoreRow]) -> None:
    """Adds to the scores."""
    database.executemany(_ADD_SCORES, rows)


def add_id(database: sqlite3.Connection, part: PartId, keep: int) -> None:
    """Remembers the shift of an event; the newest `keep` stay."""
    number = database.execute("INSERT INTO part_ids (id, day, shift, product, verdict) VALUES (?, ?, ?, ?, ?)", part)
    database.execute("DELETE FROM part_ids WHERE number <= ?", ((number.lastrowid or 0) - keep,))


def remember_serial(database: sqlite3.Connection, serial: str, product: str, keep: int) -> bool:
    """Whether a serial number is new; the newest `keep` are remembered."""
    insert = "INSERT OR IGNORE INTO part_serials (serial, product) VALUES (?, ?)"
    done = database.execute(insert, (serial, product))
    if done.rowcount:
        database.execute("DELETE FROM part_serials WHERE number <= ?", ((done.lastrowid or 0) - keep,))
    return bool(done.rowcount)


def delete_oldest(database: sqlite3.Connection, keep: int) -> None:
    """Deletes the counters of the oldest spans, so that about `keep` rows stay in each table."""
    for table in ("part_counts", "part_scores"):
        oldest = f"SELECT start FROM {table} ORDER BY start DESC LIMIT 1 OFFSET ?"
        database.execute(f"DELETE FROM {table} WHERE start < ({oldest})", (keep,))


def read_counts(database: sqlite3.Connection, since: float, until: float) -> list[CountRow]:
    """The counters of the spans that touch a period, in order; seconds since 1970, UTC."""
    if not has_part_tables(database):
        return []
    query = f"SELECT {_KEY}, what, name, clock, parts FROM part_counts WHERE start > ? AND start < ? ORDER BY start"
    return [CountRow(*row) for row in database.execute(query, (since - SPAN_SECONDS, until))]


def read_scores(database: sqlite3.Connection, since: float, until: float) -> list[ScoreRow]:
    """The scores of the spans that touch a period, in order; seconds since 1970, UTC."""
    if not has_part_tables(database):
        return []
    query = f"SELECT {_KEY}, release, clock, parts, total, squares, lowest, highest FROM part_scores "
    query += "WHERE start > ? AND start < ? ORDER BY start"
    return [ScoreRow(*row) for row in database.execute(query, (since - SPAN_SECONDS, until))]


def take_by_clock(database: sqlite3.Connection, boot: str) -> tuple[list[CountRow], list[ScoreRow]]:
    """Removes the rows that a boot counted before its clock was synchronized, and returns them."""
    found = []
    for table, kind in (("part_counts", CountRow), ("part_scores", ScoreRow)):
        columns, mine = ", ".join(kind._fields), ("clock LIKE ? || ' %'", (boot,))
        rows = database.execute(f"SELECT {columns} FROM {table} WHERE {mine[0]}", mine[1]).fetchall()
        database.execute(f"DELETE FROM {table} WHERE {mine[0]}", mine[1])
        found.append(rows)
    return [CountRow(*row) for row in found[0]], [ScoreRow(*row) for row in found[1]]


def read_ids(database: sqlite3.Connection, day: str, shift: str) -> list[PartId]:
    """The events of a shift whose parts were not accepted, in order."""
    if not has_part_tables(database):
        return []
    query = "SELECT id, day, shift, product, verdict FROM part_ids WHERE day = ? AND shift = ? ORDER BY number"
    return [PartId(*row) for row in database.execute(query, (day, shift))]
