"""Events are read from the outbox, filtered, judged and exported, while the daemon may be writing."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import msgspec
import pytest
from page_site import MODEL, PageSite, make_status

from vedette.runtime.config.configuration import load_config
from vedette.runtime.events.event import EventReason
from vedette.runtime.events.receiver_forwarder import SinkFigures
from vedette.runtime.evidence.reviews import Review, ReviewStore
from vedette.runtime.line.line_figures import LineFigures, ProductFigures, VerdictCounts
from vedette.runtime.page.event_export import export_as_csv, export_as_json
from vedette.runtime.page.event_records import EventFilter, EventReader
from vedette.runtime.page.event_words import describe_event
from vedette.runtime.page.health_words import describe_report, format_seconds
from vedette.runtime.page.service_log import parse_journal
from vedette.runtime.page.translation import load_translation
from vedette.runtime.rules import RULES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> PageSite:
    return PageSite(tmp_path_factory.mktemp("records") / "configuration", events=8, cameras=("belt",))


@pytest.fixture
def reader(site: PageSite) -> EventReader:
    return EventReader.from_config(load_config(site.folder, "belt"))


def test_messages_of_an_event_become_one_record(site: PageSite, reader: EventReader) -> None:
    records = reader.list_events(EventFilter(), 100)
    assert [record.event for record in records] == site.events["belt"][::-1]
    newest, before = records[0], records[1]
    assert newest.is_open
    assert not before.is_open
    assert [message.kind for message in before.messages] == ["new", "update", "end"]
    assert before.seconds == pytest.approx(4.8)
    assert len(before.track) == 3
    assert newest.last.model == MODEL
    assert reader.find_event(before.event) == before
    assert reader.find_event("' OR 1=1 --") is None
    assert reader.find_event("0" * 8 + before.event[8:]) is None


def test_an_event_says_why(reader: EventReader) -> None:
    english, (newest, *_) = load_translation("en"), reader.list_events(EventFilter(), 9)
    why = describe_event(newest, "presence", english)
    assert why == "The score stayed at or above the limit. Highest score 0.82, 0.22 above the limit 0.6."
    timed = msgspec.structs.replace(newest.messages[0], reason=EventReason("seconds", 12.34, 10, "s"))
    record = msgspec.structs.replace(newest, messages=(timed,))
    assert describe_event(record, "dwell", english) == "An object stayed too long. 12.3 s; the limit is 10 s."
    before = msgspec.structs.replace(newest, messages=(msgspec.structs.replace(timed, reason=None),))
    assert describe_event(before, "", english) == "The rule presence reported it."
    for use in RULES:
        assert "The rule" not in describe_event(before, use, english), use


def test_list_stops_when_it_is_full_and_goes_on_before_a_time(site: PageSite, reader: EventReader) -> None:
    first = reader.list_events(EventFilter(), 3)
    second = reader.list_events(EventFilter(before=first[-1].started), 3)
    assert [record.event for record in (*first, *second)] == site.events["belt"][:1:-1]


def test_filters(site: PageSite, reader: EventReader) -> None:
    event = site.events["belt"][2]
    ReviewStore(site.state / "belt").add(Review(event, "belt", "label", "scratch", "page", time.time()))
    assert [record.event for record in reader.list_events(EventFilter(verdict="label"), 9)] == [event]
    assert len(reader.list_events(EventFilter(verdict="none"), 9)) == 7
    assert len(reader.list_events(EventFilter(rule="presence", label="anomaly"), 9)) == 8
    assert reader.list_events(EventFilter(rule="dwell"), 9) == []


def test_picture_says_what_it_shows(site: PageSite, reader: EventReader) -> None:
    records = reader.list_events(EventFilter(), 9)[::-1]
    assert [record.has_picture for record in records] == [number % 4 != 3 for number in range(8)]
    assert records[0].shows_whole_frame
    assert not records[1].shows_whole_frame
    assert reader.evidence_file("../../vedette", (".toml",)) is None


def test_notices_of_the_device(reader: EventReader) -> None:
    (notice,) = reader.list_notices(5)
    assert (notice.rule, notice.kind) == ("camera", "dark")


def test_reading_changes_nothing(site: PageSite, reader: EventReader) -> None:
    path = site.state / "belt" / "outbox.db"
    before = path.read_bytes()
    reader.list_events(EventFilter(), 9)
    assert path.read_bytes() == before
    nothing = EventReader.from_config(
        load_config(PageSite(site.folder / "other", events=0, cameras=("yard",)).folder, "yard")
    )
    assert nothing.list_events(EventFilter(), 9) == []


def test_exports(reader: EventReader) -> None:
    records = reader.list_events(EventFilter(), 9)
    rows = list(csv.DictReader(export_as_csv(records).splitlines()))
    objects = json.loads(export_as_json(records))
    assert [row["event"] for row in rows] == [each["event"] for each in objects] == [each.event for each in records]
    assert objects[0]["label"] == "anomaly"
    assert rows[0]["started"].endswith("Z")


def test_products_of_a_line_in_words() -> None:
    loaded = ProductFigures("left", 1, "4", VerdictCounts(accept=3, reject=1))
    line = LineFigures(VerdictCounts(accept=3, reject=1), 0, 0, "left", (loaded,), None, {})
    facts = {each.name: each for each in describe_report(make_status("belt", line=line), load_translation("en")).facts}
    assert facts["Parts"].value == "3 accepted, 0 to review, 1 rejected, 0 errors"
    assert "Product on the line" not in facts, "there is only one"
    both = msgspec.structs.replace(line, products=(loaded, ProductFigures("right", 2, "", VerdictCounts(error=2))))
    report = describe_report(make_status("belt", line=both), load_translation("en"))
    facts = {each.name: each for each in report.facts}
    assert facts["Product on the line"].value == "left"
    assert facts["Product 1, left"].value.startswith("release 4: 3 accepted")
    assert facts["Product 2, right"].level == "bad"
    assert report.level == "watch"


def test_status_in_words() -> None:
    english, korean = load_translation("en"), load_translation("ko")
    well = describe_report(make_status("belt"), english)
    assert (well.level, well.headline) == ("good", "Everything works.")
    ill = make_status("belt", connected=False, dead=3, faults=["the broker refuses 3 events", "something new: 100%"])
    assert describe_report(ill, english).faults == ("the broker refuses 3 events", "something new: 100%")
    assert describe_report(ill, korean).faults[0] == "브로커가 이벤트 3건을 거부함"
    assert describe_report(ill, korean).level == "bad"
    assert describe_report(make_status("belt", throttled=("undervoltage",)), english).level == "watch"
    sinks = [SinkFigures("webhook", False, 7, 0, 2, "HTTP 503"), SinkFigures("smtp", True, 0, 1, 9)]
    named = {
        fact.name: (fact.value, fact.level) for fact in describe_report(make_status("belt", sinks=sinks), english).facts
    }
    assert named["Receiver webhook"] == ("7 wait, 0 refused; HTTP 503", "watch")
    assert named["Receiver smtp"] == ("0 wait, 1 refused", "watch")
    facts = describe_report(make_status("belt", sinks=sinks[1:]), english, has_broker=False).facts
    assert ("Broker", "none; the receivers below get the events") in [(fact.name, fact.value) for fact in facts]
    assert "Outbox" not in {fact.name for fact in facts}
    assert format_seconds(93_784, english) == "1 d 2 h"
    assert format_seconds(4.21, english) == "4.2 s"


def test_lines_of_the_journal(tmp_path: Path) -> None:
    lines = [
        {
            "MESSAGE": "no route to rtsp://admin:hunter2@cam/1",
            "PRIORITY": "4",
            "__REALTIME_TIMESTAMP": "1700000000000000",
        },
        {"MESSAGE": [104, 105], "PRIORITY": "3", "__REALTIME_TIMESTAMP": "1700000001000000"},
    ]
    warning, error = parse_journal("\n".join([*map(json.dumps, lines), "{damaged"]).encode())
    assert "hunter2" not in warning.text
    assert (warning.level, warning.taken) == ("watch", 1_700_000_000.0)
    assert (error.level, error.text) == ("bad", "hi")


def test_a_rejected_part_has_its_regions_as_boxes_on_the_whole_picture(tmp_path: Path) -> None:
    site = PageSite(tmp_path / "configuration", events=0, cameras=("belt",))
    event = site.store_reject("belt")
    reader = EventReader.from_config(load_config(site.folder, "belt"))
    record = reader.find_event(event)
    assert record is not None
    assert [record] == reader.list_events(EventFilter(rule="part"), 9)
    assert (record.shows_whole_frame, record.has_picture, record.has_heat, record.has_good) == (True,) * 4
    assert [(box.left, box.bottom) for box in record.boxes] == [(0.4, 0.62), (0.72, 0.2)], "one has none"
    assert [each.area for each in record.messages[0].predictions] == ["rim", "hole", None]
    assert (record.label, record.last.top_score) == ("scratch", 0.9134)
    why = describe_event(record, "", load_translation("en"))
    assert why == "The part was rejected: its score 0.913 reached the threshold."
