"""Reviews outlast a power cut, one damaged line hides no other, and a review names no file outside its folder."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.events.event import new_event_id
from vedette.runtime.evidence.reviews import REVIEWS_FILE, Review, ReviewStore, Verdict


def review(event: str, verdict: Verdict = "false_alarm", label: str = "", by: str = "kim") -> Review:
    return Review(event, "door", verdict, label, by, 1764388000.0)


def test_last_review_of_an_event_counts(tmp_path: Path) -> None:
    store, first, second = ReviewStore(tmp_path / "door"), new_event_id(), new_event_id()
    assert store.latest() == {}
    store.add(review(first))
    store.add(review(second, "label", "scratch"))
    store.add(review(first, "right"))
    assert store.latest() == {first: review(first, "right"), second: review(second, "label", "scratch")}
    assert stat.S_IMODE((tmp_path / "door" / REVIEWS_FILE).stat().st_mode) == 0o600


def test_damaged_lines_hide_no_other(tmp_path: Path) -> None:
    store, events = ReviewStore(tmp_path), [new_event_id() for _ in range(3)]
    store.add(review(events[0]))
    with open(store.path, "ab") as file:
        file.write(b'\xff\x00not json\n{"event": 1}\n' + b"[" * 100_000 + b"\n" + b'{"event": "half')  # power cut
    store.add(review(events[1]))
    store.add(review(events[2]))
    assert list(store.latest()) == events


@pytest.mark.parametrize(
    "wrong",
    [
        Review("../../etc/passwd", "door", "right"),
        Review("018f0000-0000-7000-8000-000000000000", "door", "perhaps"),  # type: ignore[arg-type]
        Review("018f0000-0000-7000-8000-000000000000", "door", "label"),
        Review("018f0000-0000-7000-8000-000000000000", "door", "label", "x" * 65),
    ],
)
def test_a_wrong_review_is_refused(wrong: Review, tmp_path: Path) -> None:
    store = ReviewStore(tmp_path)
    with pytest.raises(ConfigProblem):
        store.add(wrong)
    assert not store.path.exists()


def test_an_unwritable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "door").write_text("a file")
    with pytest.raises(MachineProblem):
        ReviewStore(tmp_path / "door").add(review(new_event_id()))


def test_several_writers_lose_no_line(tmp_path: Path) -> None:
    events = [new_event_id() for _ in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda event: ReviewStore(tmp_path).add(review(event)), events))
    assert set(ReviewStore(tmp_path).latest()) == set(events)
