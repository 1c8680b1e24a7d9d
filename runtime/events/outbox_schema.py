"""Tables of the outbox database, the states of its events, and how many are in each.

refused IS NULL, delivered 0    pending
refused IS NULL, delivered 1    in the journal; a replay is a range of these (journal_replay.py)
refused is a reason             dead letter
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping

IS_PENDING, IS_DEAD_LETTER = "refused IS NULL AND NOT delivered", "refused IS NOT NULL"
_TABLES = f"""
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


def create_schema(database: sqlite3.Connection) -> None:
    """Creates the tables, or adds the columns that older releases lack; those can still read the file."""
    existing = {name for _, name, *_ in database.execute("PRAGMA table_info(events)")}
    for column in ("priority INTEGER NOT NULL DEFAULT 5", "delivered INTEGER NOT NULL DEFAULT 0"):
        if existing and column.split()[0] not in existing:
            database.execute(f"ALTER TABLE events ADD COLUMN {column}")
    database.executescript(_TABLES)
    database.execute("INSERT OR IGNORE INTO facts VALUES ('epoch', ?)", (os.urandom(4).hex(),))


class EventCounts:
    """Number of events by state, counted once and then kept: counting a million rows takes a third of a second."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self.known: dict[str, int] = {}
        self.arriving: tuple[str, ...] = (IS_PENDING,)
        """States into which a new event comes."""

    def __getitem__(self, state: str) -> int:
        if state not in self.known:
            query = f"SELECT count(*) FROM events WHERE {state}"
            self.known[state] = int(self.database.execute(query).fetchone()[0])
        return self.known[state]

    def change(self, changes: Mapping[str, int]) -> None:
        """Adds to the numbers of some states, after the transaction that changed them."""
        for state, change in changes.items():
            if state in self.known:
                self.known[state] += change

    def forget(self) -> None:
        """Makes the next question count again, because a transaction failed or rows of unknown state are gone."""
        self.known.clear()
