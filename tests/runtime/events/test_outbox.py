"""What is recorded stays until it is acknowledged; what must go leaves a tombstone; order and numbers hold."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading

import msgspec
import pytest

from vedette.runtime.errors import MachineProblem
from vedette.runtime.events.event import Event, Notice, new_id
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.inference.prediction import Box, Prediction

SIZE = 1 << 20


def event(number=0):
    identifier = new_id()
    seen = (Prediction("anomaly", 3.5, Box(0.1, 0.2, 0.3, 0.4)),)
    return Event(identifier, identifier, "door", "presence", "new", float(number), number, float(number), 3.5, seen)


@pytest.fixture
def outbox(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", SIZE, volatile=True)
    yield outbox
    outbox.close()


def test_events_come_back_as_they_went_in_and_in_order(outbox):
    events = [event(number) for number in range(10)]
    assert [outbox.put(each) for each in events] == list(range(1, 11))
    rows = outbox.after(0, 100)
    assert [row.sequence for row in rows] == list(range(1, 11))
    assert [row.event.predictions for row in rows] == [each.predictions for each in events]
    assert [row.event.id for row in rows] == [each.id for each in events]
    assert [row.sequence for row in outbox.after(4, 3)] == [5, 6, 7]


def test_only_an_acknowledgement_deletes(outbox, tmp_path):
    for number in range(5):
        outbox.put(event(number))
    outbox.acknowledge([1, 3])
    assert [row.sequence for row in outbox.after(0, 10)] == [2, 4, 5]
    outbox.close()
    again = Outbox(tmp_path / "outbox.db", SIZE, volatile=True)
    assert [row.sequence for row in again.after(0, 10)] == [2, 4, 5]
    assert again.put(event()) == 6, "numbers are never given twice"
    assert again.epoch == outbox.epoch
    again.close()
    outbox.__init__(tmp_path / "outbox.db", SIZE)


def test_numbers_go_on_when_all_is_delivered(outbox, tmp_path):
    outbox.acknowledge([outbox.put(event())])
    outbox.close()
    outbox.__init__(tmp_path / "outbox.db", SIZE)
    assert outbox.put(event()) == 2


def test_a_refused_event_is_kept_but_holds_up_nobody(outbox, tmp_path):
    for number in range(3):
        outbox.put(event(number))
    outbox.refuse(1, "Not authorized")
    assert [row.sequence for row in outbox.after(0, 10)] == [2, 3]
    assert outbox.backlog() == 2
    outbox.close()
    outbox.__init__(tmp_path / "outbox.db", SIZE)
    assert [row.sequence for row in outbox.after(0, 10)] == [1, 2, 3], "a new start tries again"


def test_the_store_is_bounded_and_says_what_went(tmp_path):
    """Nothing is dropped silently: every number is kept, or lies in the range of a tombstone that is kept."""
    limit = 128 << 10
    outbox = Outbox(tmp_path / "outbox.db", limit, volatile=True)
    last = [outbox.put(event(number)) for number in range(2000)][-1]
    rows = outbox.after(0, 10_000)
    assert (tmp_path / "outbox.db").stat().st_size <= limit
    assert [row.sequence for row in rows] == sorted(row.sequence for row in rows)
    assert rows[-1].sequence == last
    graves = [row.event.facts for row in rows if isinstance(row.event, Notice)]
    told = {number for grave in graves for number in range(grave["first"], grave["last"] + 1)}
    assert told | {row.sequence for row in rows} == set(range(1, last + 1))
    assert len(graves) == 1, "one that stands for all"
    assert last > 2010, "tombstones have given way themselves"
    events = sum(isinstance(row.event, Event) for row in rows)
    assert sum(grave["count"] for grave in graves) + events == 2000, "each event went once or is still here"
    outbox.close()


def test_a_row_that_cannot_be_read_holds_up_nobody(outbox):
    for number in range(3):
        outbox.put(event(number))
    outbox.database.execute("UPDATE events SET body = x'00ff' WHERE sequence = 1")
    assert [row.sequence for row in outbox.after(0, 10)] == [2, 3]
    assert (outbox.backlog(), outbox.refused()) == (2, 1)


def test_one_process_owns_it(outbox, tmp_path):
    with pytest.raises(MachineProblem, match="in use"):
        Outbox(tmp_path / "outbox.db", SIZE, volatile=True)


def test_a_low_priority_gives_way_first(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", 128 << 10, volatile=True)
    dear = [outbox.put(msgspec.structs.replace(event(number), priority=8)) for number in range(50)]
    for number in range(2000):
        outbox.put(msgspec.structs.replace(event(number), priority=1 + number % 2))
    kept = {row.sequence: row.event.priority for row in outbox.after(0, 10_000) if isinstance(row.event, Event)}
    assert set(dear) <= set(kept)
    assert 2 in kept.values()
    outbox.close()


def test_what_was_delivered_can_be_had_again_and_gives_way_first(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", 128 << 10, journal=20, volatile=True)
    for number in range(30):
        outbox.put(event(number))
    outbox.acknowledge(list(range(1, 31)))
    assert outbox.backlog() == 0
    assert outbox.replay(1, 15) == 5, "the journal holds the last 20"
    assert [row.sequence for row in outbox.after(0, 10)] == [11, 12, 13, 14, 15]
    outbox.acknowledge([11, 12, 13, 14, 15])
    while outbox.replay(1, 10_000):
        outbox.acknowledge([row.sequence for row in outbox.after(0, 10_000)])
        outbox.put(*map(event, range(20)))
    assert outbox.backlog() > 0
    assert not any(isinstance(row.event, Notice) for row in outbox.after(0, 10_000)), "nothing that waits had to go"
    outbox.close()


def test_several_are_recorded_together(outbox):
    assert outbox.put(event(1), event(2), event(3)) == 3
    assert [row.event.frame for row in outbox.after(0, 10)] == [1, 2, 3]


def aside(folder):
    return [path for path in folder.glob("outbox.corrupt-*") if path.suffix == ".db"]


def test_what_is_no_database_is_set_aside_and_said(tmp_path):
    path = tmp_path / "outbox.db"
    path.write_bytes(b"not a database, but somebody's file\n" * 100)
    outbox = Outbox(path, SIZE, volatile=True)
    (row,) = outbox.after(0, 10)
    assert (row.event.rule, row.event.kind, row.event.facts["saved"]) == ("outbox", "recovered", 0)
    (kept,) = aside(tmp_path)
    assert kept.name == row.event.facts["set_aside"]
    assert kept.read_bytes().startswith(b"not a database")
    assert outbox.put(event()) == 2
    outbox.close()


def test_what_can_be_read_of_a_corrupt_file_is_saved(tmp_path):
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, SIZE, volatile=True)
    ids = []
    for number in range(1500):
        one = event(number)
        ids.append(one.id)
        outbox.put(one)
    outbox.acknowledge(list(range(1, 101)))
    epoch = outbox.epoch
    outbox.close()
    with path.open("r+b") as file:  # one page in the middle is lost
        size = path.stat().st_size
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)

    again = Outbox(path, SIZE, volatile=True)
    rows = again.after(0, 10_000)
    assert again.epoch != epoch
    assert rows[-1].event.kind == "recovered"
    saved = [row.event.id for row in rows[:-1]]
    assert len(saved) == rows[-1].event.facts["saved"]
    assert saved == [each for each in ids if each in set(saved)], "in order, each once"
    assert set(saved) <= set(ids[100:])
    assert len(saved) > 1300, "all but about a page"
    again.close()


def test_only_the_newest_corrupt_files_are_kept(tmp_path):
    for _ in range(5):
        (tmp_path / "outbox.db").write_bytes(b"rubbish" * 1000)
        Outbox(tmp_path / "outbox.db", SIZE, volatile=True).close()
    assert len(aside(tmp_path)) == 3


def test_without_a_place_to_write_events_wait_in_memory_and_say_so(tmp_path):
    (tmp_path / "outbox.db").mkdir()
    outbox = Outbox(tmp_path / "outbox.db", SIZE, volatile=True)
    outbox.put(event())
    fault, seen = outbox.after(0, 10)
    assert (fault.event.kind, seen.event.kind) == ("volatile", "new")
    assert "outbox.db" in fault.event.facts["reason"]
    assert fault.event.priority == 9
    outbox.close()


def test_a_disk_in_memory_is_a_fault_unless_it_is_meant(small_disk):
    outbox = Outbox(small_disk / "a" / "outbox.db", SIZE)
    assert [row.event.kind for row in outbox.after(0, 10)] == ["volatile"]
    outbox.close()
    meant = Outbox(small_disk / "b" / "outbox.db", SIZE, volatile=True)
    assert meant.after(0, 10) == []
    meant.close()


def test_other_files_may_fill_the_disk(small_disk):
    """It leaves `min_free` alone, so there is room to let events go; every number is kept or told of."""
    outbox = Outbox(small_disk / "outbox.db", 64 << 20, min_free=2 << 20, volatile=True)
    for number in range(100):
        outbox.put(event(number))
    free = os.statvfs(small_disk)
    (small_disk / "logs").write_bytes(bytes(free.f_bavail * free.f_frsize - (2 << 20)))
    last = [outbox.put(event(number)) for number in range(3000)][-1]
    rows = outbox.after(0, 10_000)
    told = {number for row in rows if isinstance(row.event, Notice) for number in _range(row.event.facts)}
    assert told | {row.sequence for row in rows} == set(range(1, last + 1))
    assert os.statvfs(small_disk).f_bavail > 0
    (small_disk / "logs").unlink()
    before = len(rows)
    for number in range(1000):
        outbox.put(event(number))
    assert len(outbox.after(0, 10_000)) == before + 1000, "with room again nothing goes"
    outbox.close()


def _range(facts):
    return range(facts["first"], facts["last"] + 1)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_an_older_file_is_used_as_it_is(tmp_path):
    path = tmp_path / "outbox.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT")
        database.execute("INSERT INTO facts VALUES ('epoch', 'old')")
        columns = "sequence INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL, refused TEXT"
        database.execute(f"CREATE TABLE events ({columns}) STRICT")
        database.execute("INSERT INTO events (body) VALUES (?)", (msgspec.json.encode(event(7)),))
    outbox = Outbox(path, SIZE, volatile=True)
    assert outbox.epoch == "old"
    assert [row.event.frame for row in outbox.after(0, 10)] == [7]
    outbox.acknowledge([1])
    assert outbox.put(event(8)) == 2
    outbox.close()


def test_threads_may_share_it(outbox):
    def record():
        for number in range(50):
            outbox.put(event(number))

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.sequence for row in outbox.after(0, 1000)] == list(range(1, 201))


def test_durability_is_switched_on(outbox):
    assert outbox.database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert outbox.database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.event import Event, new_id
outbox = Outbox(Path(sys.argv[1]), 1 << 20)
while True:
    i = new_id()
    print(outbox.put(Event(i, i, "door", "presence", "new", 0.0, 0, 0.0, 1.0)), flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_what_put_returned_survives_a_kill(tmp_path, attempt):
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
