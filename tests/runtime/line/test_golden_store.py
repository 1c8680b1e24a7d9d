"""What is kept of reference parts: in the outbox with the event, or in the journal until it is there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from vedette.runtime.events.golden_parts import GoldenPartResult, GoldenState
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.line.golden_store import RULE, GoldenStore
from vedette.runtime.line.part_journal import PartJournal
from vedette.runtime.line.verdict_recorder import VerdictRecorder

FAILED = GoldenState(due="failed", unacknowledged="reference_failed", passed=5.0, part=7)


def facts_of(state: GoldenState) -> dict[str, Any]:
    result = GoldenPartResult("left door", "3", state.lock, "failed", "", "", (), state)
    built: dict[str, Any] = msgspec.to_builtins(result)
    return built


def open_recorder(folder: Path) -> tuple[Outbox, GoldenStore, VerdictRecorder]:
    outbox = Outbox(folder / "outbox.db", 10 << 20, camera="door", volatile=True)
    recorder = VerdictRecorder("door", PartJournal(folder), outbox, lambda: None, ())
    return outbox, GoldenStore(outbox), recorder


def count_events(database: sqlite3.Connection) -> int:
    query = "SELECT count(*) FROM events WHERE CAST(body AS TEXT) LIKE '%golden_part%'"
    return int(database.execute(query).fetchone()[0])


def test_lock_is_in_the_database_with_its_event(tmp_path: Path) -> None:
    outbox, store, recorder = open_recorder(tmp_path)
    recorder.start()
    recorder.note(7, RULE, "failed", facts_of(FAILED))
    recorder.close()
    assert store.read([]) == {"left door": FAILED}
    assert recorder.journal.notices == {}
    outbox.close()

    outbox, store, recorder = open_recorder(tmp_path)
    assert recorder.journal.notices == {}, "the journal does not know that it was stored"
    assert store.read(recorder.journal.notices.values()) == {"left door": FAILED}
    outbox.close()


def test_process_that_ends_before_the_event_is_stored_forgets_no_lock(tmp_path: Path) -> None:
    outbox, _, recorder = open_recorder(tmp_path)  # its thread never runs
    recorder.note(7, RULE, "failed", facts_of(FAILED))
    outbox.close()
    recorder.journal.close()

    outbox, store, recorder = open_recorder(tmp_path)
    assert store.read([]) == {}
    assert store.read(recorder.journal.notices.values()) == {"left door": FAILED}
    recorder.start()
    recorder.close()
    assert store.read([]) == {"left door": FAILED}
    outbox.close()
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as database:
        (events,) = database.execute(
            "SELECT count(*) FROM events WHERE CAST(body AS TEXT) LIKE '%golden_part%'"
        ).fetchone()
    assert events == 1


def test_event_that_cannot_be_stored_changes_no_state(tmp_path: Path) -> None:
    """The transaction has both, or neither."""
    outbox, store, recorder = open_recorder(tmp_path)
    recorder.start()
    outbox.database.execute("CREATE TRIGGER full BEFORE INSERT ON facts BEGIN SELECT RAISE(ABORT, 'no room'); END")
    recorder.note(7, RULE, "failed", facts_of(FAILED))
    recorder.close()
    assert store.read([]) == {}
    assert outbox.database.execute(
        "SELECT count(*) FROM events WHERE CAST(body AS TEXT) LIKE '%golden_part%'"
    ).fetchone() == (0,)
    assert recorder.problem is not None
    outbox.close()
