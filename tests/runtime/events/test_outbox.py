"""The outbox keeps events until they are acknowledged; evictions leave tombstones; order and numbers are stable."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading

import msgspec
import pytest
from events import make_event

from vedette.runtime.errors import MachineProblem
from vedette.runtime.events.event import Event, SystemEvent
from vedette.runtime.events.outbox import Outbox

SIZE = 1 << 20


def test_events_are_read_unchanged_and_in_order(outbox):
    events = [make_event(number) for number in range(10)]
    assert [outbox.put(each) for each in events] == list(range(1, 11))
    rows = outbox.read_after(0, 100)
    assert [row.sequence for row in rows] == list(range(1, 11))
    assert [row.event.predictions for row in rows] == [each.predictions for each in events]
    assert [row.event.id for row in rows] == [each.id for each in events]
    assert [row.sequence for row in outbox.read_after(4, 3)] == [5, 6, 7]


def test_only_acknowledged_events_leave_the_queue(outbox, tmp_path):
    for number in range(5):
        outbox.put(make_event(number))
    outbox.acknowledge([1, 3])
    assert [row.sequence for row in outbox.read_after(0, 10)] == [2, 4, 5]
    outbox.close()
    reopened = Outbox(tmp_path / "outbox.db", SIZE, volatile=True)
    assert [row.sequence for row in reopened.read_after(0, 10)] == [2, 4, 5]
    assert reopened.put(make_event()) == 6, "sequence numbers are never reused"
    assert reopened.epoch == outbox.epoch
    reopened.close()
    outbox.__init__(tmp_path / "outbox.db", SIZE)


def test_sequence_continues_after_all_events_are_delivered(outbox, tmp_path):
    outbox.acknowledge([outbox.put(make_event())])
    outbox.close()
    outbox.__init__(tmp_path / "outbox.db", SIZE)
    assert outbox.put(make_event()) == 2


def test_dead_letter_is_kept_and_blocks_no_other_event(outbox, tmp_path):
    for number in range(3):
        outbox.put(make_event(number))
    outbox.mark_dead_letter(1, "Not authorized")
    assert [row.sequence for row in outbox.read_after(0, 10)] == [2, 3]
    assert outbox.count_pending() == 2
    outbox.close()
    outbox.__init__(tmp_path / "outbox.db", SIZE)
    assert [row.sequence for row in outbox.read_after(0, 10)] == [1, 2, 3], (
        "dead letters are sent again after a restart"
    )


def test_size_is_limited_and_tombstones_record_evictions(tmp_path):
    """Every sequence number is either stored or within the range of a stored tombstone."""
    limit = 128 << 10
    outbox = Outbox(tmp_path / "outbox.db", limit, volatile=True)
    last = [outbox.put(make_event(number)) for number in range(2000)][-1]
    rows = outbox.read_after(0, 10_000)
    assert (tmp_path / "outbox.db").stat().st_size <= limit
    assert [row.sequence for row in rows] == sorted(row.sequence for row in rows)
    assert rows[-1].sequence == last
    tombstones = [row.event.facts for row in rows if isinstance(row.event, SystemEvent)]
    evicted = {number for facts in tombstones for number in range(facts["first"], facts["last"] + 1)}
    assert evicted | {row.sequence for row in rows} == set(range(1, last + 1))
    assert len(tombstones) == 1, "tombstones are merged"
    assert last > 2010, "earlier tombstones were evicted too"
    events = sum(isinstance(row.event, Event) for row in rows)
    assert sum(facts["count"] for facts in tombstones) + events == 2000, "each event is stored or was evicted once"
    outbox.close()


def test_unreadable_row_becomes_dead_letter_and_blocks_no_other_event(outbox):
    for number in range(3):
        outbox.put(make_event(number))
    outbox.database.execute("UPDATE events SET body = x'00ff' WHERE sequence = 1")
    assert [row.sequence for row in outbox.read_after(0, 10)] == [2, 3]
    assert (outbox.count_pending(), outbox.count_dead_letters()) == (2, 1)


@pytest.mark.usefixtures("outbox")
def test_second_process_cannot_open_the_file(tmp_path):
    with pytest.raises(MachineProblem, match="in use"):
        Outbox(tmp_path / "outbox.db", SIZE, volatile=True)


def test_events_of_low_priority_are_evicted_first(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", 128 << 10, volatile=True)
    important = [outbox.put(msgspec.structs.replace(make_event(number), priority=8)) for number in range(50)]
    for number in range(2000):
        outbox.put(msgspec.structs.replace(make_event(number), priority=1 + number % 2))
    kept = {row.sequence: row.event.priority for row in outbox.read_after(0, 10_000) if isinstance(row.event, Event)}
    assert set(important) <= set(kept)
    assert 2 in kept.values()
    outbox.close()


def test_journal_can_be_replayed_and_is_evicted_first(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", 128 << 10, journal=20, volatile=True)
    for number in range(30):
        outbox.put(make_event(number))
    outbox.acknowledge(list(range(1, 31)))
    assert outbox.count_pending() == 0
    assert outbox.replay(1, 15) == 5, "the journal holds the last 20"
    assert [row.sequence for row in outbox.read_replays(0, 10)] == [11, 12, 13, 14, 15]
    assert (outbox.count_pending(), outbox.count_replays()) == (0, 5)
    outbox.acknowledge([11, 12, 13, 14, 15])
    assert outbox.count_replays() == 0
    while outbox.replay(1, 10_000):
        rows = [*outbox.read_replays(0, 10_000), *outbox.read_after(0, 10_000)]
        outbox.acknowledge([row.sequence for row in rows])
        outbox.put(*map(make_event, range(20)))
    assert outbox.count_pending() > 0
    assert not any(isinstance(row.event, SystemEvent) for row in outbox.read_after(0, 10_000)), (
        "no pending event was evicted"
    )
    outbox.close()


def test_put_stores_several_events(outbox):
    assert outbox.put(make_event(1), make_event(2), make_event(3)) == 3
    assert [row.event.frame for row in outbox.read_after(0, 10)] == [1, 2, 3]


def corrupt_files(folder):
    return [path for path in folder.glob("outbox.corrupt-*") if path.suffix == ".db"]


def test_file_that_is_no_database_is_set_aside_and_reported(tmp_path):
    path = tmp_path / "outbox.db"
    path.write_bytes(b"not a database, but another file\n" * 100)
    outbox = Outbox(path, SIZE, volatile=True)
    (row,) = outbox.read_after(0, 10)
    assert (row.event.rule, row.event.kind, row.event.facts["saved"]) == ("outbox", "recovered", 0)
    (kept,) = corrupt_files(tmp_path)
    assert kept.name == row.event.facts["set_aside"]
    assert kept.read_bytes().startswith(b"not a database")
    assert outbox.put(make_event()) == 2
    outbox.close()


def test_readable_events_of_corrupt_file_are_recovered(tmp_path):
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, SIZE, volatile=True)
    ids = []
    for number in range(1500):
        event = make_event(number)
        ids.append(event.id)
        outbox.put(event)
    outbox.acknowledge(list(range(1, 101)))
    epoch = outbox.epoch
    outbox.close()
    with path.open("r+b") as file:  # corrupts one page in the middle
        size = path.stat().st_size
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)

    recovered = Outbox(path, SIZE, volatile=True)
    rows = recovered.read_after(0, 10_000)
    assert recovered.epoch != epoch
    assert rows[-1].event.kind == "recovered"
    saved = [row.event.id for row in rows[:-1]]
    assert len(saved) == rows[-1].event.facts["saved"]
    assert saved == [each for each in ids if each in set(saved)], "in order, each once"
    assert set(saved) <= set(ids[100:])
    assert len(saved) > 1300, "all but about one page"
    recovered.close()


def test_only_the_newest_corrupt_files_are_kept(tmp_path):
    for _ in range(5):
        (tmp_path / "outbox.db").write_bytes(b"rubbish" * 1000)
        Outbox(tmp_path / "outbox.db", SIZE, volatile=True).close()
    assert len(corrupt_files(tmp_path)) == 3


def test_unwritable_path_stores_events_in_memory_and_reports_it(tmp_path):
    (tmp_path / "outbox.db").mkdir()
    outbox = Outbox(tmp_path / "outbox.db", SIZE, volatile=True)
    outbox.put(make_event())
    fault, event = outbox.read_after(0, 10)
    assert (fault.event.kind, event.event.kind) == ("volatile", "new")
    assert "outbox.db" in fault.event.facts["reason"]
    assert fault.event.priority == 9
    outbox.close()


def test_file_system_in_memory_is_a_fault_unless_intended(small_disk):
    outbox = Outbox(small_disk / "a" / "outbox.db", SIZE)
    assert [row.event.kind for row in outbox.read_after(0, 10)] == ["volatile"]
    outbox.close()
    intended = Outbox(small_disk / "b" / "outbox.db", SIZE, volatile=True)
    assert intended.read_after(0, 10) == []
    intended.close()


def test_outbox_survives_full_disk(small_disk):
    """It keeps `min_free` bytes free, so that it can evict events; every number is stored or in a tombstone."""
    outbox = Outbox(small_disk / "outbox.db", 64 << 20, min_free=2 << 20, volatile=True)
    for number in range(100):
        outbox.put(make_event(number))
    free = os.statvfs(small_disk)
    (small_disk / "logs").write_bytes(bytes(free.f_bavail * free.f_frsize - (2 << 20)))
    last = [outbox.put(make_event(number)) for number in range(3000)][-1]
    rows = outbox.read_after(0, 10_000)
    evicted = {
        number for row in rows if isinstance(row.event, SystemEvent) for number in _evicted_range(row.event.facts)
    }
    assert evicted | {row.sequence for row in rows} == set(range(1, last + 1))
    assert os.statvfs(small_disk).f_bavail > 0
    (small_disk / "logs").unlink()
    before = len(rows)
    for number in range(1000):
        outbox.put(make_event(number))
    assert len(outbox.read_after(0, 10_000)) == before + 1000, "no eviction after space is free again"
    outbox.close()


def _evicted_range(facts):
    return range(facts["first"], facts["last"] + 1)


def test_file_of_older_release_is_migrated(tmp_path):
    path = tmp_path / "outbox.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT")
        database.execute("INSERT INTO facts VALUES ('epoch', 'old')")
        columns = "sequence INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL, refused TEXT"
        database.execute(f"CREATE TABLE events ({columns}) STRICT")
        database.execute("INSERT INTO events (body) VALUES (?)", (msgspec.json.encode(make_event(7)),))
    outbox = Outbox(path, SIZE, volatile=True)
    assert outbox.epoch == "old"
    assert [row.event.frame for row in outbox.read_after(0, 10)] == [7]
    outbox.acknowledge([1])
    assert outbox.put(make_event(8)) == 2
    outbox.close()


def test_put_is_thread_safe(outbox):
    def record():
        for number in range(50):
            outbox.put(make_event(number))

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.sequence for row in outbox.read_after(0, 1000)] == list(range(1, 201))


def test_sqlite_uses_wal_and_full_synchronous(outbox):
    assert outbox.database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert outbox.database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.event import Event, new_event_id
outbox = Outbox(Path(sys.argv[1]), 1 << 20)
while True:
    i = new_event_id()
    print(outbox.put(Event(i, i, "door", "presence", "new", 0.0, 0, 0.0, 1.0)), flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_outbox_survives_sigkill(tmp_path, attempt):
    path = tmp_path / "outbox.db"
    command = [sys.executable, "-c", WRITER, str(path), str(tmp_path)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    promised = [int(writer.stdout.readline()) for _ in range(20 + 17 * attempt)]
    os.kill(writer.pid, signal.SIGKILL)
    promised += [int(text) for text in writer.stdout.read().split("\n")[:-1]]
    writer.wait()
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = {number for (number,) in database.execute("SELECT sequence FROM events")}
    assert set(promised) <= stored


def test_a_replay_ends_with_the_events_that_were_delivered_before_it(tmp_path):
    """Events that are delivered while a replay runs neither end it nor join it, even if its range names them."""
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20, volatile=True)
    for number in range(12):
        outbox.put(make_event(number))
    outbox.acknowledge([*range(1, 9), 12])
    assert outbox.replay(1, 1000) == 9
    outbox.acknowledge([9, 10, 11])
    outbox.put(make_event(13))
    outbox.acknowledge([13])
    assert [row.sequence for row in outbox.read_replays(0, 100)][:8] == list(range(1, 9))
    assert 13 not in [row.sequence for row in outbox.read_replays(0, 100)]
    outbox.close()


def test_no_event_at_all_evicts_nothing(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", 128 << 10, volatile=True)
    for number in range(2000):
        outbox.put(make_event(number))
    pending = outbox.count_pending()
    assert outbox.put() == 0
    assert outbox.count_pending() == pending
    outbox.close()


def test_a_replay_whose_events_were_evicted_is_over(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", 128 << 10, volatile=True)
    for number in range(20):
        outbox.put(make_event(number))
    outbox.acknowledge(list(range(1, 21)))
    assert outbox.replay(1, 20) == outbox.count_replays() == 20
    for number in range(2000):
        outbox.put(make_event(number))
    assert outbox.read_replays(0, 100) == []
    assert outbox.count_replays() == 0
    outbox.close()
