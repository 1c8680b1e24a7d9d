"""The file of the outbox: where it may lie, what is recovered from it, and what its tombstones say."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
from pathlib import Path

import msgspec
import pytest
from events import make_event

from vedette.runtime.clock import Clock
from vedette.runtime.errors import MachineProblem
from vedette.runtime.events.event import Event, make_system_event
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.outbox_file import open_outbox_file
from vedette.runtime.events.outbox_space import OutboxSpace, StoredRow, merge_tombstones

SIZE = 1 << 20
PAGE = 4096


def has_fault(path: Path) -> bool:
    """Whether the file at `path` is reported."""
    file = open_outbox_file(path)
    file.close()
    return file.fault is not None


def fill(disk: Path, free: int) -> None:
    """Fills the disk but for `free` bytes."""
    usage = os.statvfs(disk)
    (disk / "logs").write_bytes(bytes(usage.f_bavail * usage.f_frsize - free))


def test_missing_folders_are_made_and_only_the_owner_can_lock_the_file(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "state" / "door" / "outbox.db", SIZE, volatile=True)
    assert outbox.is_durable
    assert (tmp_path / "state" / "door" / "outbox.lock").stat().st_mode & 0o777 == 0o600
    outbox.close()


def test_epoch_is_a_random_number_of_32_bits(tmp_path: Path) -> None:
    outboxes = [Outbox(tmp_path / name / "outbox.db", SIZE, volatile=True) for name in "ab"]
    first, second = (outbox.epoch for outbox in outboxes)
    assert len(bytes.fromhex(first)) == len(bytes.fromhex(second)) == 4
    assert first != second
    for outbox in outboxes:
        outbox.close()


def test_disk_with_a_mebibyte_free_is_used(small_disk: Path) -> None:
    fill(small_disk, 1 << 20)
    outbox = Outbox(small_disk / "outbox.db", SIZE, volatile=True)
    assert outbox.is_durable
    outbox.close()


def test_disk_with_less_than_a_mebibyte_free_is_not_used(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(small_disk, (1 << 20) - PAGE)
    path = small_disk / "outbox.db"
    with caplog.at_level(logging.ERROR):
        outbox = Outbox(path, SIZE, volatile=True)
    assert not outbox.is_durable
    (row,) = outbox.read_after(0, 10)
    assert isinstance(row.event.facts, dict)
    assert row.event.facts["reason"] == f"{path}: the disk is full"
    assert caplog.messages[0] == f"{path}: the disk is full", "the file is named, for it may be intact"
    assert len(caplog.messages) == 2
    outbox.close()


def test_path_that_is_no_file_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "outbox.db").mkdir()
    with caplog.at_level(logging.ERROR):
        Outbox(tmp_path / "outbox.db", SIZE, volatile=True).close()
    assert len(caplog.messages) == 1


def test_events_of_a_corrupt_file_on_a_full_disk_are_recovered_into_memory(small_disk: Path) -> None:
    path = small_disk / "outbox.db"
    write_corrupt_outbox(path, 1000)
    fill(small_disk, 512 << 10)
    recovered = Outbox(path, SIZE, volatile=True)
    assert not recovered.is_durable
    events = [row.event for row in recovered.read_after(0, 10_000)]
    assert events[-1].kind == "volatile"
    assert len(events) > 900
    assert all(isinstance(event, Event) for event in events[:-1])
    recovered.close()


def test_body_that_is_no_blob_is_not_recovered(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, SIZE, volatile=True)
    outbox.put(make_event(1), make_event(2), make_event(3))
    outbox.close()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA writable_schema = ON")
    database.execute("UPDATE sqlite_schema SET sql = replace(sql, 'BLOB', 'TEXT') WHERE name = 'events'")
    database.close()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("UPDATE events SET body = 'text' WHERE sequence = 2")
    database.close()
    recovered = Outbox(path, SIZE, volatile=True)
    first, third, report = (row.event for row in recovered.read_after(0, 10))
    assert isinstance(first, Event)
    assert isinstance(third, Event)
    assert (first.frame, third.frame) == (1, 3)
    assert report.kind == "recovered"
    recovered.close()


def test_mount_point_in_memory_is_a_fault_and_its_neighbours_are_not(tmp_path: Path, small_disk: Path) -> None:
    assert has_fault(small_disk / "outbox.db")
    usual = has_fault(tmp_path / "zebra" / "outbox.db")
    assert has_fault(tmp_path / "disk2" / "outbox.db") == usual
    assert has_fault(tmp_path / "outbox.db") == usual


def test_innermost_mount_point_decides(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "lasting").mkdir()
    (small_disk / "inner").mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "lasting", small_disk / "inner"], check=True)
    assert has_fault(small_disk / "inner" / "outbox.db") == has_fault(tmp_path / "outbox.db")


def test_tombstone_covers_earlier_tombstones_system_events_and_unreadable_rows() -> None:
    def encode(kind: str, facts: dict[str, int]) -> bytes:
        return msgspec.json.encode(make_system_event("door", "outbox", kind, facts, Clock()))

    rows = [
        StoredRow(*row)
        for row in (
            (40, msgspec.json.encode(make_event())),
            (41, b"unreadable"),
            (42, encode("volatile", {})),
            (43, encode("clock", {})),
            (44, encode("evicted", {"first": 7, "last": 39, "count": 30})),
            (12, encode("evicted", {"first": 2, "last": 6, "count": 5})),
        )
    ]
    assert merge_tombstones(rows) == {"first": 2, "last": 44, "count": 39}
    assert merge_tombstones(rows[:2]) == {"first": 40, "last": 41, "count": 2}


def write_corrupt_outbox(path: Path, events: int) -> None:
    """An outbox with so many pending events, and one page in the middle overwritten."""
    outbox = Outbox(path, SIZE, volatile=True)
    for number in range(events):
        outbox.put(make_event(number))
    outbox.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // PAGE * PAGE)
        file.write(b"\xff" * PAGE)


def test_recovery_that_was_cut_off_goes_on_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk fails in the middle of the recovery: no event is forgotten or doubled, and one event reports it."""
    path = tmp_path / "outbox.db"
    write_corrupt_outbox(path, 1000)

    def fail_after(batches: int):
        insert, calls = OutboxSpace.insert, iter(range(batches))

        def limited(self, *arguments):
            if next(calls, None) is None:
                raise sqlite3.OperationalError("disk I/O error")
            return insert(self, *arguments)

        return limited

    for batches in (3, 0, 5):
        with monkeypatch.context() as patched:
            patched.setattr(OutboxSpace, "insert", fail_after(batches))
            Outbox(path, SIZE, volatile=True).close()
        assert "the next start goes on" in caplog.text
    recovered = Outbox(path, SIZE, volatile=True)
    *events, report = (row.event for row in recovered.read_after(0, 10_000))
    frames = [event.frame for event in events]
    assert len(frames) > 900
    assert frames == sorted(set(frames))
    assert (report.kind, report.facts["saved"]) == ("recovered", len(events))
    recovered.close()
    again = Outbox(path, SIZE, volatile=True)
    assert again.count_pending() == len(events) + 1
    again.close()
    assert not path.with_suffix(".salvage").exists()


def test_corrupt_file_is_recovered_while_the_disk_has_less_than_min_free(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    write_corrupt_outbox(path, 1000)
    recovered = Outbox(path, SIZE, min_free=1 << 62, volatile=True)
    *events, report = (row.event for row in recovered.read_after(0, 10_000))
    assert len(events) > 900
    assert all(isinstance(event, Event) for event in events), "none was evicted"
    assert report.kind == "recovered"
    recovered.close()


def test_large_file_that_failed_in_operation_is_checked_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start does not check a large file. The fault shows in operation, and the next start recovers the events."""
    path = tmp_path / "outbox.db"
    write_corrupt_outbox(path, 2000)
    monkeypatch.setattr("vedette.runtime.events.outbox_file.MAX_CHECKED_BYTES", 1000)
    outbox = Outbox(path, SIZE, volatile=True)
    assert not list(tmp_path.glob("*.corrupt-*"))
    with pytest.raises(MachineProblem, match="malformed"):
        outbox.read_after(0, 10_000)
    outbox.close()
    assert path.with_suffix(".suspect").exists()
    recovered = Outbox(path, SIZE, volatile=True)
    kinds = [row.event.kind for row in recovered.read_after(0, 10_000)]
    assert kinds.count("new") > 1500
    assert kinds[-1] == "recovered"
    assert not path.with_suffix(".suspect").exists()
    recovered.close()
