"""The limits of the outbox: pages, free space on the disk, memory, and the journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from events import make_event

from vedette.runtime.config.configuration import load_config
from vedette.runtime.events.outbox import JOURNAL_ROWS, Outbox

PAGE = 4096
UNWRITABLE = Path("/proc/vedette/outbox.db")


def test_outbox_in_a_file_is_durable(outbox: Outbox) -> None:
    assert outbox.is_durable
    assert outbox.count_pending() == 0, "no system event reports a fault"


def test_outbox_without_a_writable_folder_is_in_memory_and_bounded() -> None:
    outbox = Outbox(UNWRITABLE, 1 << 30)
    assert not outbox.is_durable
    assert outbox.max_pages == (8 << 20) // PAGE
    assert [row.event.kind for row in outbox.read_after(0, 10)] == ["volatile"]
    outbox.close()


def test_empty_put_stores_nothing(outbox: Outbox) -> None:
    assert outbox.put() == 0
    assert outbox.put(make_event()) == 1


@pytest.mark.parametrize(("max_bytes", "pages"), [(1, 16), (16 * PAGE, 16), (17 * PAGE, 17), (1 << 20, 256)])
def test_size_limit_is_in_whole_pages_and_at_least_sixteen(tmp_path: Path, max_bytes: int, pages: int) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_bytes, volatile=True)
    assert outbox.max_pages == outbox.page_limit == pages
    outbox.close()


def test_file_does_not_grow_while_the_disk_has_less_than_min_free(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, 1 << 20, min_free=1 << 62, volatile=True)
    (pages,) = outbox.database.execute("PRAGMA page_count").fetchone()
    assert outbox.page_limit == pages < outbox.max_pages
    for number in range(200):
        outbox.put(make_event(number))
    assert outbox.database.execute("PRAGMA page_count").fetchone() == (pages,)
    kinds = [row.event.kind for row in outbox.read_after(0, 1000)]
    assert kinds.count("evicted") == 1
    assert kinds[-1] == "new"
    outbox.close()


def test_min_free_of_one_byte_does_not_limit_a_disk_with_room(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20, min_free=1, volatile=True)
    assert outbox.page_limit == outbox.max_pages
    outbox.close()


def test_journal_keeps_exactly_the_newest_delivered_events(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20, journal=3, volatile=True)
    for number in range(10):
        outbox.put(make_event(number))
    outbox.acknowledge(list(range(1, 11)))
    assert outbox.replay(1, 10) == 3
    assert [row.sequence for row in outbox.read_after(0, 100)] == [8, 9, 10]
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
    assert (outbox.max_pages, outbox.journal, outbox.camera) == (32, JOURNAL_ROWS, "door")
    assert JOURNAL_ROWS == 10_000
    outbox.close()
