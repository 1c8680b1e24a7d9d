"""The journal of parts: what it knows after a process ended, and how large it becomes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from vedette.runtime.events.event import SystemEvent
from vedette.runtime.line.part_journal import JournalLine, PartJournal

PARTS = 1500
LARGEST = (1 << 20) + 4000  # bytes: the limit, and one more part


def verdict_of(number: int) -> SystemEvent:
    return SystemEvent(f"event-{number}", "door", "part", "verdict", float(number), {"label": "x" * 1000})


def reopen(journal: PartJournal) -> PartJournal:
    """The journal as the next process finds it."""
    journal.close()
    return PartJournal(journal.path.parent)


def let_pass(journal: PartJournal, parts: int) -> int:
    """Parts with a verdict and an event that is in the outbox; returns the largest size of the file."""
    largest = 0
    for number in range(1, parts + 1):
        journal.write_trigger(JournalLine(number, float(number)))
        journal.write_verdict(number, verdict_of(number))
        journal.write_stored(number)
        largest = max(largest, journal.path.stat().st_size)
    return largest


def test_file_stays_small_and_numbers_go_on(tmp_path: Path) -> None:
    journal = PartJournal(tmp_path)
    assert let_pass(journal, PARTS) <= LARGEST
    journal = reopen(journal)
    assert (journal.last_number, journal.undecided, journal.unstored) == (PARTS, {}, {})
    journal.write_trigger(JournalLine(PARTS + 1, 5.0))
    journal.write_verdict(PARTS + 1, verdict_of(PARTS + 1))
    journal.write_trigger(JournalLine(PARTS + 2, 6.0))
    journal = reopen(journal)
    assert journal.last_number == PARTS + 2
    assert list(journal.undecided) == [PARTS + 2]
    assert journal.unstored == {PARTS + 1: verdict_of(PARTS + 1)}
    journal.close()


def test_file_with_a_part_in_flight_keeps_it(tmp_path: Path) -> None:
    journal = PartJournal(tmp_path)
    let_pass(journal, 900)
    journal.write_trigger(JournalLine(5000, 1.0))
    for number in range(901, PARTS + 1):  # stored late: the limit is passed while a later part is in flight
        journal.write_verdict(number, verdict_of(number))
        journal.write_stored(number)
    journal = reopen(journal)
    assert list(journal.undecided) == [5000]
    journal.close()


def test_process_that_ends_while_the_file_is_made_shorter_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The first bytes are written over, and the rest is not cut off yet."""
    journal = PartJournal(tmp_path)
    let_pass(journal, 20)
    journal.close()
    line = msgspec.json.encode(JournalLine(20, stored=True)) + b"\n"
    text = journal.path.read_bytes()
    journal.path.write_bytes(line + text[len(line) :])

    journal = PartJournal(tmp_path)
    assert (journal.last_number, journal.undecided, journal.unstored) == (20, {}, {})
    journal.write_trigger(JournalLine(21, 1.0))
    journal = reopen(journal)
    assert list(journal.undecided) == [21]
    journal.close()


def test_line_that_a_process_did_not_finish_harms_no_other(tmp_path: Path) -> None:
    journal = PartJournal(tmp_path)
    journal.write_trigger(JournalLine(1, 1.0))
    journal.close()
    journal.path.write_bytes(journal.path.read_bytes() + b'{"part":2,"trigg')

    journal = PartJournal(tmp_path)
    journal.write_trigger(JournalLine(3, 3.0))
    journal = reopen(journal)
    assert list(journal.undecided) == [1, 3]
    journal.close()
