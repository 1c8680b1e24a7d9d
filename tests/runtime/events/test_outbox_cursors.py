"""Several sinks at one outbox: each has its own cursor; none holds up another; sinks come and go; older releases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest
from events import make_event

from vedette.runtime.errors import MachineProblem
from vedette.runtime.events.event import Event, SystemEvent
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.outbox_cursors import SinkCursors
from vedette.runtime.events.sink_queue import SinkQueue

SIZE = 128 << 10


class OutboxOpener:
    """Opens the outbox in a folder, after closing it if it is open."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "outbox.db"
        self.opened: Outbox | None = None

    def __call__(self, *sinks: str, size: int = SIZE, journal: int = 10_000) -> Outbox:
        self.close()
        self.opened = Outbox(self.path, size, journal=journal, volatile=True, camera="door", sinks=sinks)
        return self.opened

    def close(self) -> None:
        if self.opened is not None:
            self.opened.close()
        self.opened = None


@pytest.fixture
def open_outbox(tmp_path):
    opener = OutboxOpener(tmp_path)
    yield opener
    opener.close()


@pytest.fixture
def older_release(monkeypatch):
    """Makes outboxes behave as those of releases that know no further sinks: they leave unknown tables alone."""

    def start() -> None:
        monkeypatch.setattr(SinkCursors, "configure", lambda _: None)

    def end() -> None:
        monkeypatch.undo()

    return start, end


def numbers(queue, after=0):
    return [row.sequence for row in queue.read_after(after, 10_000)]


def put(outbox, count):
    return outbox.put_all([make_event(number) for number in range(count)])


def test_an_outbox_without_further_sinks_has_the_tables_of_older_releases(open_outbox):
    outbox = open_outbox()
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    assert outbox.database.execute(tables).fetchall() == [("events",), ("facts",)]
    open_outbox("alerts")
    outbox = open_outbox()
    assert outbox.database.execute(tables).fetchall() == [("events",), ("facts",)], "the last sink is gone"


def test_a_dead_sink_holds_up_neither_another_nor_the_journal(open_outbox):
    outbox = open_outbox("alerts", "mail", journal=5)
    alerts, mail = SinkQueue(outbox, "alerts"), SinkQueue(outbox, "mail")
    recorded = put(outbox, 30)
    outbox.acknowledge(recorded)
    mail.acknowledge(recorded)
    assert numbers(alerts) == recorded
    assert numbers(mail) == numbers(outbox) == []
    assert outbox.replay(1, 30) == 30, "the broker's consumers can ask for all of them"
    outbox.acknowledge(recorded)
    alerts.acknowledge(recorded[:10])
    assert outbox.replay(1, 30) == 25, "what all sinks have and the journal does not keep is gone"
    alerts.acknowledge(recorded[10:])
    assert outbox.replay(1, 30) == 5


def test_a_dead_letter_of_a_sink_stays_until_the_next_start_sends_it_again(open_outbox):
    outbox = open_outbox("alerts", journal=0)
    recorded = put(outbox, 5)
    alerts = SinkQueue(outbox, "alerts")
    alerts.mark_dead_letter(2, "no")
    alerts.acknowledge([1, 3, 4, 5])
    outbox.acknowledge(recorded)
    assert (alerts.count_pending(), alerts.count_dead_letters(), outbox.count_dead_letters()) == (0, 1, 0)
    outbox = open_outbox("alerts", journal=0)
    alerts = SinkQueue(outbox, "alerts")
    assert (numbers(alerts), alerts.count_dead_letters()) == ([2], 0)
    put(outbox, 1)
    assert numbers(alerts) == [2, 6], "first what is older"
    alerts.acknowledge([2, 6])
    assert outbox.database.execute("SELECT count(*) FROM sink_exceptions").fetchone() == (0,)


def test_sinks_come_and_go(open_outbox):
    outbox = open_outbox()
    put(outbox, 3)
    outbox = open_outbox("alerts")
    assert numbers(SinkQueue(outbox, "alerts")) == [], "a new sink starts with new events"
    put(outbox, 2)
    outbox = open_outbox("mail", "alerts")
    assert numbers(SinkQueue(outbox, "alerts")) == [4, 5]
    assert numbers(SinkQueue(outbox, "mail")) == []
    outbox.acknowledge([1, 2, 3, 4, 5])
    outbox = open_outbox("mail", journal=0)
    outbox.acknowledge([put(outbox, 1)[0]])
    SinkQueue(outbox, "mail").acknowledge([6])
    assert outbox.database.execute("SELECT count(*) FROM events").fetchone() == (0,), "a removed sink holds nothing"
    outbox = open_outbox("mail", "alerts")
    assert numbers(SinkQueue(outbox, "alerts")) == [], "and is new when it comes back"


def test_a_tombstone_names_the_sinks_that_miss_an_event(open_outbox):
    outbox = open_outbox("alerts", "mail")
    mail = SinkQueue(outbox, "mail")
    for _ in range(12):
        recorded = put(outbox, 50)
        outbox.acknowledge(recorded)
        mail.acknowledge(recorded)
    alerts = [row.event for row in SinkQueue(outbox, "alerts").read_after(0, 10_000)]
    (tombstone,) = [event for event in alerts if isinstance(event, SystemEvent)]
    assert tombstone.facts["sinks"] == ["alerts"]
    assert tombstone.facts["count"] + len(alerts) - 1 == 600
    assert tombstone in [row.event for row in outbox.read_after(0, 10_000)], "everybody gets it"


def test_eviction_takes_what_all_have_and_then_by_priority(open_outbox):
    outbox = open_outbox("alerts")
    alerts = SinkQueue(outbox, "alerts")
    high = outbox.put_all([msgspec.structs.replace(make_event(), priority=8)] * 20)
    done = put(outbox, 20)
    outbox.acknowledge([*high, *done])  # the broker has them all
    alerts.acknowledge(done)
    for _ in range(60):
        put(outbox, 8)
    kept = [number for (number,) in outbox.database.execute("SELECT sequence FROM events ORDER BY sequence")]
    assert not set(done) & set(kept)
    assert set(high) <= set(numbers(alerts))


def test_dead_letters_of_a_sink_fit_into_a_full_outbox(open_outbox):
    outbox = open_outbox("alerts")
    for _ in range(6):
        put(outbox, 50)
    alerts = SinkQueue(outbox, "alerts")
    waiting = numbers(alerts)
    for number in waiting:
        alerts.mark_dead_letter(number, "no " * 100)
    assert not set(numbers(alerts)) & set(waiting)
    assert alerts.count_dead_letters() > len(waiting) // 4
    assert put(outbox, 1)


def test_a_full_outbox_of_an_older_release_loses_nothing(open_outbox, older_release, tmp_path):
    start, end = older_release
    start()
    outbox = open_outbox()
    for _ in range(12):
        put(outbox, 50)
    before = numbers(outbox)
    assert before[0] > 1, "it is full"
    end()
    outbox = open_outbox("alerts", "mail")
    assert numbers(outbox) == before
    assert put(outbox, 3)
    assert numbers(SinkQueue(outbox, "alerts"))[-3:] == numbers(outbox)[-3:]
    assert (tmp_path / "outbox.db").stat().st_size <= SIZE + 2 * 4096


def test_an_older_release_can_use_the_file_and_the_sinks_go_on_after_it(open_outbox, older_release):
    start, end = older_release
    outbox = open_outbox("alerts")
    put(outbox, 6)
    alerts = SinkQueue(outbox, "alerts")
    alerts.mark_dead_letter(1, "no")
    alerts.acknowledge([2])
    start()
    outbox = open_outbox(journal=3)
    assert numbers(outbox) == [1, 2, 3, 4, 5, 6]
    put(outbox, 2)
    outbox.acknowledge(numbers(outbox))  # its journal keeps three
    end()
    alerts = SinkQueue(open_outbox("alerts"), "alerts")
    assert numbers(alerts) == [6, 7, 8], "the others were deleted by the older release"
    alerts.acknowledge([6, 7, 8])
    assert alerts.count_pending() == 0


def test_what_waits_for_a_sink_alone_is_recovered_from_a_corrupt_file(open_outbox, tmp_path):
    outbox = open_outbox("alerts", size=1 << 20)
    outbox.acknowledge(put(outbox, 500))
    SinkQueue(outbox, "alerts").acknowledge(list(range(1, 101)))
    open_outbox.close()
    path = Path(tmp_path / "outbox.db")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    recovered = Outbox(path, 1 << 20, volatile=True, camera="door", sinks=("alerts",))
    rows = [row.event for row in SinkQueue(recovered, "alerts").read_after(0, 10_000)]
    assert rows[-1].rule == "outbox"
    events = [event for event in rows if isinstance(event, Event)]
    assert 350 < len(events) <= 400
    recovered.close()


def test_a_failed_transaction_moves_no_cursor(open_outbox, monkeypatch):
    outbox = open_outbox("alerts")
    put(outbox, 3)
    alerts = SinkQueue(outbox, "alerts")

    def fail(_last):
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(outbox.cursors, "trim", fail)
        with pytest.raises(MachineProblem, match="disk I/O error"):
            alerts.acknowledge([1, 2])
    assert numbers(alerts) == [1, 2, 3]
    assert alerts.count_pending() == 3
