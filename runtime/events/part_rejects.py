"""Facts of the worst rejected parts of each shift, in the database of the outbox, for the report of the shift.

The journal of the outbox holds the last thousands of events, on a fast line those of some minutes. So the facts are
kept beside the counters (part_count_tables.py): of each shift, product and release those with the highest scores.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

import msgspec

from ..errors import UNREADABLE
from .event import SystemEvent
from .part_verdict import PartVerdict

MOST_REJECTS = 100
"""Rejected parts that are kept of a shift, product and release."""
_TABLES = (
    """CREATE TABLE IF NOT EXISTS part_rejects (number INTEGER PRIMARY KEY, id TEXT NOT NULL, day TEXT NOT NULL,
    shift TEXT NOT NULL, product TEXT NOT NULL, release TEXT NOT NULL, score REAL, facts BLOB NOT NULL) STRICT""",
    "CREATE INDEX IF NOT EXISTS worst_rejects ON part_rejects (day, shift, product, release, score)",
)
_ADD = "INSERT INTO part_rejects (id, day, shift, product, release, score, facts) VALUES (?, ?, ?, ?, ?, ?, ?)"
_TRIM = """DELETE FROM part_rejects WHERE day = ?1 AND shift = ?2 AND product = ?3 AND release = ?4 AND number NOT IN
    (SELECT number FROM part_rejects WHERE day = ?1 AND shift = ?2 AND product = ?3 AND release = ?4
    ORDER BY score DESC, number DESC LIMIT ?5)"""
_OLDEST = """DELETE FROM part_rejects WHERE number <=
    (SELECT number FROM part_rejects ORDER BY number DESC LIMIT 1 OFFSET ?)"""
_READ = """SELECT id, facts FROM part_rejects WHERE day = ? AND shift = ?
    ORDER BY row_number() OVER (PARTITION BY product, release ORDER BY score DESC, number DESC), number DESC"""


class RejectedPart(msgspec.Struct, frozen=True):
    """A part that was rejected."""

    event: str
    """Id of the event of its verdict; its pictures have this name."""
    verdict: PartVerdict


def add_reject(
    database: sqlite3.Connection, record: SystemEvent, verdict: PartVerdict, day: str, shift: str, keep: int
) -> None:
    """Remembers a rejected part of a shift; of all shifts the newest `keep` stay."""
    for table in _TABLES:
        database.execute(table)
    key = (day, shift, verdict.product, verdict.release)
    facts = msgspec.json.encode(verdict)
    database.execute(_ADD, (record.id, *key, verdict.score, facts))
    database.execute(_TRIM, (*key, MOST_REJECTS))
    database.execute(_OLDEST, (keep,))


def read_rejects(database: sqlite3.Connection, day: str, shift: str) -> list[RejectedPart]:
    """The rejected parts of a shift that are kept, the worst first.

    Scores of different products and releases cannot be compared, so the worst of each come first, then the second
    worst, and so on.
    """
    (known,) = database.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'part_rejects'").fetchone()
    if not known:
        return []
    found = []
    for event, facts in database.execute(_READ, (day, shift)):
        with suppress(*UNREADABLE):
            found.append(RejectedPart(event, msgspec.json.decode(facts, type=PartVerdict)))
    return found
