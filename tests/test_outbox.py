"""What is recorded stays until it is acknowledged; what must go leaves a tombstone; order and numbers hold."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from vedette.runtime.event import Event, Tombstone, new_id
from vedette.runtime.outbox import Outbox
from vedette.runtime.prediction import Box, Prediction
from vedette.runtime.problem import MachineProblem

SIZE = 1 << 20


def event(number=0):
    identifier = new_id()
    seen = (Prediction("anomaly", 3.5, Box(0.1, 0.2, 0.3, 0.4)),)
    return Event(identifier, identifier, "door", "presence", "new", float(number), number, float(number), 3.5, seen)


@pytest.fixture
def outbox(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", SIZE)
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
    again = Outbox(tmp_path / "outbox.db", SIZE)
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
    outbox = Outbox(tmp_path / "outbox.db", limit)
    last = [outbox.put(event(number)) for number in range(2000)][-1]
    rows = outbox.after(0, 10_000)
    assert (tmp_path / "outbox.db").stat().st_size <= limit
    assert [row.sequence for row in rows] == sorted(row.sequence for row in rows)
    assert rows[-1].sequence == last
    graves = [row.event for row in rows if isinstance(row.event, Tombstone)]
    told = {number for grave in graves for number in range(grave.first, grave.last + 1)}
    assert told | {row.sequence for row in rows} == set(range(1, last + 1))
    assert last >= 2000 + 2 * len(graves), "so many evictions that tombstones have given way themselves"
    events = sum(isinstance(row.event, Event) for row in rows)
    assert sum(grave.count for grave in graves) + events == 2000, "each event went once or is still here"
    outbox.close()


def test_a_row_that_cannot_be_read_holds_up_nobody(outbox):
    for number in range(3):
        outbox.put(event(number))
    outbox.database.execute("UPDATE events SET body = x'00ff' WHERE sequence = 1")
    assert [row.sequence for row in outbox.after(0, 10)] == [2, 3]
    assert (outbox.backlog(), outbox.refused()) == (2, 1)


def test_one_process_owns_it(outbox, tmp_path):
    with pytest.raises(MachineProblem, match="in use"):
        Outbox(tmp_path / "outbox.db", SIZE)


def test_what_is_no_database_is_said_and_kept(tmp_path):
    path = tmp_path / "outbox.db"
    path.write_bytes(b"not a database, but somebody's file\n" * 100)
    with pytest.raises(MachineProblem, match=r"outbox\.db") as caught:
        Outbox(path, SIZE)
    assert caught.value.hint
    assert path.read_bytes().startswith(b"not a database")


def test_a_folder_in_its_place_is_said(tmp_path):
    (tmp_path / "outbox.db").mkdir()
    with pytest.raises(MachineProblem, match=r"outbox\.db"):
        Outbox(tmp_path / "outbox.db", SIZE)


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
from vedette.runtime.outbox import Outbox
from vedette.runtime.event import Event, new_id
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
