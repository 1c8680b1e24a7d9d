"""Counters of parts equal the stored verdicts: after kills, evictions, corruption, and steps of the clock."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from events import make_event
from hypothesis import given
from hypothesis import strategies as st
from paths import TESTS
from verdicts import make_verdict

from vedette.runtime.clock import Clock, TimeQuality
from vedette.runtime.config.shift_table import ShiftSettings
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.part_count_tables import read_counts, read_ids, read_scores
from vedette.runtime.events.part_counts import PartCounts
from vedette.runtime.statistics.shift_calendar import ShiftCalendar

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = (ShiftSettings("day", "06:00", "22:00"), ShiftSettings("night", "22:00", "06:00"))
SIZE = 1 << 20
ALWAYS = (-float("inf"), float("inf"))
OpenCounts = Callable[..., PartCounts]


class SetClock(Clock):
    """A clock that a test sets."""

    def __init__(self, now: float = 0.0, quality: TimeQuality = "synced") -> None:
        super().__init__()
        self.boot, self.now, self.since_boot, self.quality = "boot-1", now, 100.0, quality

    def wall_time(self) -> float:
        return self.now

    def seconds_since_boot(self) -> float:
        return self.since_boot

    def time_quality(self) -> TimeQuality:
        return self.quality


@pytest.fixture
def open_counts(tmp_path: Path) -> Iterator[OpenCounts]:
    opened: list[Outbox] = []

    def open_one(clock: Clock | None = None, size: int = SIZE) -> PartCounts:
        for outbox in opened:
            outbox.close()
        opened[:] = [Outbox(tmp_path / "outbox.db", size, volatile=True, camera="door", clock=clock)]
        return PartCounts(opened[0], ShiftCalendar(NIGHT, BERLIN), size)

    yield open_one
    for outbox in opened:
        outbox.close()


def at(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


def totals(counts: PartCounts, *fields: str) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for row in read_counts(counts.database, *ALWAYS):
        found[tuple(str(getattr(row, field)) for field in fields)] += row.parts
    return found


def test_what_is_counted_of_a_part(open_counts: OpenCounts) -> None:
    counts, noon = open_counts(), at("2026-11-27T12:07")
    counts.outbox.put(make_event(1))
    counts.outbox.put(
        make_verdict(noon, serial="A1", score=0.25),
        make_verdict(noon + 1, "reject", serial="A2", score=0.75, rejected=("rim", "rim", "hole"), label="scratch"),
        make_verdict(noon + 2, "accept", serial="A2", score=0.5),
        make_verdict(noon + 3, "error", reason="late", score=None, product="tiles"),
        make_verdict(noon + 4, "warn", product="tiles", score=0.6),
    )
    assert totals(counts, "product", "what", "name") == {
        ("cells", "verdict", "accept"): 2,
        ("cells", "verdict", "reject"): 1,
        ("cells", "first", "accept"): 1,  # A2 was judged before
        ("cells", "first", "reject"): 1,
        ("cells", "region", "rim"): 1,
        ("cells", "region", "hole"): 1,
        ("cells", "label", "scratch"): 1,
        ("tiles", "verdict", "error"): 1,
        ("tiles", "first", "error"): 1,
        ("tiles", "reason", "late"): 1,
        ("tiles", "verdict", "warn"): 1,
        ("tiles", "first", "warn"): 1,
    }
    assert set(totals(counts, "day", "shift", "start")) == {("2026-11-27", "day", str(int(at("2026-11-27T12:00"))))}
    scores = {row.product: row for row in read_scores(counts.database, *ALWAYS)}
    assert (scores["cells"].parts, scores["cells"].total, scores["cells"].lowest) == (3, 1.5, 0.25)
    assert scores["cells"].squares == 0.25**2 + 0.75**2 + 0.5**2
    assert [(each.product, each.verdict) for each in read_ids(counts.database, "2026-11-27", "day")] == [
        ("cells", "reject"),
        ("tiles", "error"),
        ("tiles", "warn"),
    ]


def test_a_shift_over_midnight_and_over_changes_of_the_clocks(open_counts: OpenCounts) -> None:
    counts = open_counts()
    for day, next_day in (("2026-11-27", "2026-11-28"), ("2026-10-24", "2026-10-25"), ("2026-03-28", "2026-03-29")):
        counts.outbox.put(
            make_verdict(at(f"{day}T21:59")),
            make_verdict(at(f"{day}T22:00")),
            make_verdict(at(f"{next_day}T02:30", fold=0)),
            make_verdict(at(f"{next_day}T02:30", fold=1)),
            make_verdict(at(f"{next_day}T05:59")),
            make_verdict(at(f"{next_day}T06:00")),
        )
        found = {key: number for key, number in totals(counts, "day", "shift", "what").items() if key[2] == "verdict"}
        assert found[day, "day", "verdict"] == 1
        assert found[day, "night", "verdict"] == 4
        assert found[next_day, "day", "verdict"] == 1
    repeated = {row.start for row in read_counts(counts.database, at("2026-10-25T02:00"), at("2026-10-25T03:00"))}
    assert len(repeated) == 2, "the hour that comes twice is two hours"


def test_counts_from_before_the_clock_was_synchronized_move_to_their_shift(open_counts: OpenCounts) -> None:
    clock = SetClock(at("2020-01-01T00:00"), "unknown")
    counts = open_counts(clock)
    counts.outbox.put(make_verdict(clock.now, "reject", label="a", score=1.0))
    clock.now, clock.since_boot = clock.now + 3600, clock.since_boot + 3600
    counts.outbox.put(make_verdict(clock.now, score=2.0))
    assert set(totals(counts, "day", "shift")) == {("2019-12-31", "night")}
    counts = open_counts(clock)  # the daemon starts again within the boot
    clock.now, clock.since_boot, clock.quality = at("2026-11-27T22:30"), clock.since_boot + 60, "synced"
    counts.outbox.put(make_verdict(clock.now, score=4.0))
    found = {key: number for key, number in totals(counts, "day", "shift", "what").items() if key[2] == "verdict"}
    assert found == {("2026-11-27", "day", "verdict"): 1, ("2026-11-27", "night", "verdict"): 2}
    assert {row.clock for row in read_counts(counts.database, *ALWAYS)} == {""}
    assert sum(row.total for row in read_scores(counts.database, *ALWAYS)) == 7.0


def test_a_step_of_the_clock_deletes_and_doubles_nothing(open_counts: OpenCounts) -> None:
    counts, noon = open_counts(), at("2026-11-27T12:00")
    for taken in (noon, noon + 1, noon + 40 * 365 * 86400, noon + 2, noon - 86400, noon):
        counts.outbox.put(make_verdict(taken))
    found = {key: number for key, number in totals(counts, "day", "what").items() if key[1] == "verdict"}
    assert found["2026-11-27", "verdict"] == 4
    assert sum(found.values()) == 6


@given(st.lists(st.tuples(st.sampled_from(("accept", "warn", "reject", "error")), st.integers(0, 10**6)), max_size=30))
def test_counters_equal_the_stored_events(parts: list[tuple[str, int]]) -> None:
    outbox = Outbox(Path("/proc/vedette/outbox.db"), SIZE, camera="door")  # in memory
    counts = PartCounts(outbox, ShiftCalendar(NIGHT, BERLIN), SIZE)
    for verdict, seconds in parts:
        outbox.put(make_verdict(at("2026-10-24T00:00") + seconds, verdict))
    found = {name: number for (what, name), number in totals(counts, "what", "name").items() if what == "verdict"}
    assert found == Counter(verdict for verdict, _ in parts)
    calendar = ShiftCalendar(NIGHT, BERLIN)
    for row in read_counts(counts.database, *ALWAYS):
        middle = [calendar.find(row.start + offset) for offset in (0, 899)]
        assert (row.day, row.shift) in {(each.day, each.name) for each in middle}
    outbox.close()


def test_a_full_outbox_evicts_events_and_keeps_their_counts(open_counts: OpenCounts) -> None:
    counts, noon = open_counts(size=1 << 17), at("2026-11-27T12:00")
    for start in range(0, 500, 20):
        kinds = {number: "reject" if number % 5 == 0 else "accept" for number in range(start, start + 20)}
        counts.outbox.put(*[make_verdict(noon + number, kind) for number, kind in kinds.items()])
    assert counts.outbox.count_pending() < 300
    found = {name: number for (what, name), number in totals(counts, "what", "name").items() if what == "verdict"}
    assert found == {"accept": 400, "reject": 100}
    assert len(read_ids(counts.database, "2026-11-27", "day")) <= 0.3 * counts.keep


def test_old_counters_go_before_they_fill_the_outbox(open_counts: OpenCounts) -> None:
    counts, noon = open_counts(size=1 << 17), at("2026-01-01T12:00")
    for day in range(300):
        counts.outbox.put(make_verdict(noon + 86400 * day, serial=str(day)))
    rows = read_counts(counts.database, *ALWAYS)
    assert len(rows) <= counts.keep + 2
    assert rows[-1].day == "2026-10-27"


def test_a_verdict_that_lost_its_facts_is_counted_as_an_error(open_counts: OpenCounts) -> None:
    counts, noon = open_counts(), at("2026-11-27T12:00")
    counts.outbox.put(msgspec.structs.replace(make_verdict(noon), facts={"truncated": 100_000}))
    assert totals(counts, "what", "name")["reason", "unreadable"] == 1


def test_counters_of_a_corrupt_file_are_taken_over_once(open_counts: OpenCounts, tmp_path: Path) -> None:
    path, noon = tmp_path / "outbox.db", at("2026-11-27T12:00")
    outbox = Outbox(path, SIZE, volatile=True, camera="door")
    counts = PartCounts(outbox, ShiftCalendar(NIGHT, BERLIN), SIZE)
    outbox.put(*[make_verdict(noon + number, "reject", label=f"label {number % 7}") for number in range(200)])
    expected = totals(counts, "what", "name")
    outbox.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'waiting'").fetchone()
        size = database.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size))
    for _ in range(2):
        counts = open_counts()
        assert list(tmp_path.glob("outbox.corrupt-*.db"))
        assert totals(counts, "what", "name") == expected


WRITER = """
import sys, time
from pathlib import Path
from zoneinfo import ZoneInfo
sys.path.insert(0, sys.argv[2])
from verdicts import make_verdict
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.part_counts import PartCounts
from vedette.runtime.statistics.shift_calendar import ShiftCalendar
outbox = Outbox(Path(sys.argv[1]), 1 << 22, journal=10**6, volatile=True, camera="door")
PartCounts(outbox, ShiftCalendar((), ZoneInfo("Europe/Berlin")), 1 << 22)
number = int(sys.argv[3])
while True:
    kind = ("accept", "reject", "warn", "error")[number % 4]
    event = make_verdict(1.8e9 + number, kind, serial=str(number % 50), label="a" if kind == "reject" else "")
    outbox.put(event, make_verdict(1.8e9 + number))
    print("stored", flush=True)
    number += 1
"""


def test_after_kills_the_counters_equal_the_events(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    kills = 4
    for kill in range(kills):
        command = [sys.executable, "-c", WRITER, str(path), str(TESTS / "support"), str(1000 * kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(15 + 11 * kill):
                assert writer.stdout.readline() == "stored\n"
            writer.send_signal(signal.SIGKILL)
        with closing(sqlite3.connect(path)) as database:
            stored = Counter(
                json.loads(body)["facts"]["verdict"] for (body,) in database.execute("SELECT body FROM events")
            )
            counted: Counter[str] = Counter()
            for row in read_counts(database, *ALWAYS):
                counted.update({row.name: row.parts} if row.what == "verdict" else {})
            assert counted == stored
            assert sum(stored.values()) >= 15 * (kill + 1)
            assert sum(row.parts for row in read_scores(database, *ALWAYS)) == sum(stored.values())
