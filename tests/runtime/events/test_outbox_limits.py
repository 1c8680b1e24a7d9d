"""The limits of the outbox: pages, free space on the disk, memory, and the journal."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from events import make_event

from vedette.runtime.config.configuration import load_config
from vedette.runtime.events.event import Event, SystemEvent
from vedette.runtime.events.outbox import JOURNAL_ROWS, Outbox
from vedette.runtime.inference.prediction import Box, Prediction

PAGE = 4096
UNWRITABLE = Path("/proc/vedette/outbox.db")


def test_outbox_in_a_file_is_durable(outbox: Outbox) -> None:
    assert outbox.is_durable
    assert outbox.count_pending() == 0, "no system event reports a fault"


def test_outbox_without_a_writable_folder_is_in_memory_and_bounded() -> None:
    outbox = Outbox(UNWRITABLE, 1 << 30)
    assert not outbox.is_durable
    assert outbox.space.max_pages == (8 << 20) // PAGE
    assert [row.event.kind for row in outbox.read_after(0, 10)] == ["volatile"]
    outbox.close()


def test_empty_put_stores_nothing(outbox: Outbox) -> None:
    assert outbox.put() == 0
    assert outbox.put(make_event()) == 1


@pytest.mark.parametrize(("max_bytes", "pages"), [(1, 32), (32 * PAGE, 32), (33 * PAGE, 33), (1 << 20, 256)])
def test_size_limit_is_in_whole_pages_and_at_least_32(tmp_path: Path, max_bytes: int, pages: int) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_bytes, volatile=True)
    assert outbox.space.max_pages == outbox.space.page_limit == pages
    outbox.close()


def test_file_does_not_grow_while_the_disk_has_less_than_min_free(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, 1 << 20, min_free=1 << 62, volatile=True)
    pages = outbox.space.page_limit
    assert pages == 32 < outbox.space.max_pages, "the smallest limit"
    for number in range(600):
        outbox.put(make_event(number))
    assert outbox.database.execute("PRAGMA page_count").fetchone()[0] <= pages
    kinds = [row.event.kind for row in outbox.read_after(0, 10_000)]
    assert kinds.count("evicted") == 1
    assert kinds[-1] == "new"
    outbox.close()


def test_min_free_of_one_byte_does_not_limit_a_disk_with_room(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20, min_free=1, volatile=True)
    assert outbox.space.page_limit == outbox.space.max_pages
    outbox.close()


def test_journal_keeps_exactly_the_newest_delivered_events(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20, journal=3, volatile=True)
    for number in range(10):
        outbox.put(make_event(number))
    outbox.acknowledge(list(range(1, 11)))
    assert outbox.replay(1, 10) == 3
    assert [row.sequence for row in outbox.read_replays(0, 100)] == [8, 9, 10]
    outbox.close()


def test_configured_outbox_lies_in_the_state_folder_of_its_camera(tmp_path: Path) -> None:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text("[outbox]\nvolatile = true\nmax_bytes = 131072\nmin_free = 0\n")
    (tmp_path / "cameras" / "door.toml").write_text(
        'source = "file:x"\nbundle = "x.vedette"\n[[rules]]\nuse = "presence"\n'
    )
    settings = load_config(tmp_path, "door")
    settings.state_folder.mkdir(parents=True)
    outbox = Outbox.from_config(settings)
    assert outbox.path == settings.state_folder / "outbox.db"
    assert (outbox.space.max_pages, outbox.journal, outbox.camera) == (32, JOURNAL_ROWS, "door")
    assert JOURNAL_ROWS == 10_000
    outbox.close()


def leave_free(disk: Path, free: int) -> None:
    """Fills the disk but for `free` bytes."""
    usage = os.statvfs(disk)
    with (disk / "logs").open("ab") as logs:
        logs.write(bytes(usage.f_bavail * usage.f_frsize - free))
    usage = os.statvfs(disk)
    assert usage.f_bavail * usage.f_frsize == free


def test_file_stops_growing_only_below_min_free(small_disk: Path) -> None:
    """The limit follows the free space of the disk at each `put`, down and up."""
    outbox = Outbox(small_disk / "outbox.db", 1 << 20, min_free=2 << 20, volatile=True)
    leave_free(small_disk, 2 << 20)
    outbox.put()
    assert outbox.space.page_limit == 256
    leave_free(small_disk, (2 << 20) - PAGE)
    outbox.put()
    (pages,) = outbox.database.execute("PRAGMA page_count").fetchone()
    assert outbox.database.execute("PRAGMA max_page_count").fetchone() == (max(pages, 32),)
    assert outbox.space.page_limit == max(pages, 32)
    (small_disk / "logs").unlink()
    outbox.put()
    assert outbox.database.execute("PRAGMA max_page_count").fetchone() == (256,)
    outbox.close()


def test_event_that_never_fits_is_truncated_and_told(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", 32 * PAGE, volatile=True)
    boxes = tuple(Prediction("dent", number / 1000, Box(0.1, 0.2, 0.3, 0.4)) for number in range(1000))
    number = outbox.put(msgspec.structs.replace(make_event(20), rule="x" * 20 * PAGE, predictions=boxes))
    first, report = (row.event for row in outbox.read_after(number - 1, 100))
    assert isinstance(first, Event)
    assert first.frame == 20
    assert 10 < len(first.predictions) < 500
    assert first.predictions[0].score == 0.999, "the predictions of the highest scores are kept"
    assert len(msgspec.json.encode(first)) <= 4 * PAGE
    assert isinstance(report, SystemEvent)
    assert report.kind == "truncated"
    assert report.facts["sequence"] == number
    assert report.facts["bytes"] > 20 * PAGE
    outbox.close()


@pytest.mark.parametrize(("events", "boxes"), [(64, 1), (4, 100), (400, 5)])
def test_events_of_one_put_are_stored_while_rows_of_low_priority_can_give_way(
    tmp_path: Path, events: int, boxes: int
) -> None:
    for seed in range(10):
        outbox = Outbox(tmp_path / str(seed) / "outbox.db", 48 * PAGE, volatile=True, camera="door")
        for number in range(300 + seed):
            outbox.put(msgspec.structs.replace(make_event(number), priority=1))
        predictions = tuple(Prediction("dent", 0.5, Box(0.1, 0.2, 0.3, 0.4)) for _ in range(boxes))
        one = msgspec.structs.replace(make_event(1000), predictions=predictions, priority=7)
        numbers = outbox.put_all([one] * events)
        assert len(numbers) == events
        rows = outbox.read_after(0, 10_000)
        kept = {row.sequence for row in rows}
        facts = next(row.event.facts for row in rows if isinstance(row.event, SystemEvent))
        assert kept | set(range(facts["first"], facts["last"] + 1)) >= set(range(1, numbers[-1] + 1))
        assert outbox.count_pending() == len(rows)
        assert (events > 64) or set(numbers) <= kept
        outbox.close()


def test_journal_is_evicted_as_far_as_needed_before_any_pending_event(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", 192 << 10, volatile=True)
    for number in range(200):
        outbox.put(make_event(number))
    outbox.acknowledge(list(range(1, 201)))
    journal = count = 200
    while journal == 200:
        count += 1
        assert outbox.put(make_event(count)) == count
        (journal,) = outbox.database.execute("SELECT count(*) FROM events WHERE delivered").fetchone()
    assert 0 < journal < 200
    assert [row.sequence for row in outbox.read_after(0, 1000)] == list(range(201, count + 1))
    assert outbox.replay(1, 200) == journal == outbox.count_replays()
    outbox.close()


def test_system_events_are_kept_while_other_events_can_be_evicted(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", 128 << 10, volatile=True)
    outbox.put_system_event("clock", "set", {"seconds": 3})
    for number in range(1000):
        outbox.put(make_event(number))
    system = [row.event for row in outbox.read_after(0, 10_000) if isinstance(row.event, SystemEvent)]
    assert [event.kind for event in system] == ["set", "evicted"]
    outbox.close()


def test_system_events_are_evicted_if_there_are_no_others(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", 64 << 10, volatile=True)
    for number in range(500):
        outbox.put_system_event("clock", "set", {"seconds": number})
    rows = outbox.read_after(0, 10_000)
    events = [row.event for row in rows if isinstance(row.event, SystemEvent)]
    (tombstone,) = (event.facts for event in events if event.kind == "evicted")
    assert tombstone["first"] == 1
    assert tombstone["count"] + len(rows) - 1 == 500
    assert events[-1].facts == {"seconds": 499}
    outbox.close()


def test_events_are_counted_once_and_then_kept_in_mind(tmp_path: Path) -> None:
    """Counting a million rows would hold the lock for a third of a second at each status report."""
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20, volatile=True)
    outbox.put(*[make_event(number) for number in range(5)])
    assert (outbox.count_pending(), outbox.count_dead_letters()) == (5, 0)
    statements: list[str] = []
    outbox.database.set_trace_callback(statements.append)
    outbox.put(make_event(6))
    outbox.acknowledge([1, 2])
    outbox.mark_dead_letter(3, "no")
    assert (outbox.count_pending(), outbox.count_dead_letters()) == (3, 1)
    assert statements
    assert not [each for each in statements if "count(" in each.lower()]
    outbox.close()
