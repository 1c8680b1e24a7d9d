"""Batches of events: their payload, and what is collected for how long."""

from __future__ import annotations

import gzip
import json
import os
import re
import textwrap
from typing import Any

import pytest
from events import make_event
from paths import ROOT

from vedette.runtime.clock import Clock
from vedette.runtime.config.batch_table import BatchEncoding, BatchSettings
from vedette.runtime.events.batch_collector import BatchCollector
from vedette.runtime.events.cloud_event import CLOUD_EVENTS_TYPE, encode_cloud_event
from vedette.runtime.events.event import Event
from vedette.runtime.events.event_batch import BATCH_TYPE, MAX_BATCH_BYTES, BatchPayload, split_batch
from vedette.runtime.events.outbox import SequencedEvent
from vedette.runtime.events.sinks import Message


def make_row(number: int, priority: int = 5) -> tuple[SequencedEvent, Message]:
    event = make_event(number)
    record = Event(**{each: getattr(event, each) for each in event.__struct_fields__} | {"priority": priority})
    payload = encode_cloud_event(record, "/a/b/c/device", number, "5eed5eed", Clock())
    return SequencedEvent(number, record), Message("v/evt/door/presence", payload, False, CLOUD_EVENTS_TYPE, number)


@pytest.mark.parametrize("encoding", ["json", "gzip"])
def test_a_batch_has_the_events_as_they_are_and_the_size_that_it_said(encoding: BatchEncoding) -> None:
    events = [make_row(number)[1].payload for number in range(1, 20)]
    batch = BatchPayload(encoding)
    for event in events:
        said = batch.size_with(event)
        batch.add(event)
        assert len(batch.finish()) == said
    payload = batch.finish()
    plain = gzip.decompress(payload) if encoding == "gzip" else payload
    assert json.loads(plain) == [json.loads(each) for each in events]
    assert split_batch(payload) == events
    if encoding == "gzip":
        assert len(payload) < len(plain) / 4


@pytest.mark.parametrize("encoding", ["json", "gzip"])
def test_the_reader_in_the_documents_reads_a_batch(encoding: BatchEncoding) -> None:
    block = re.search(r"^    import gzip, json\n.*?\n\n(?=\S)", (ROOT / "docs" / "events.md").read_text(), re.M | re.S)
    assert block is not None
    scope: dict[str, Any] = {}
    exec(textwrap.dedent(block[0]), scope)
    batch = BatchPayload(encoding)
    batch.add(make_row(1)[1].payload)
    assert [each["sequence"] for each in scope["read"](batch.finish())] == ["000000000001"]


def test_an_empty_batch_is_an_empty_list() -> None:
    assert split_batch(BatchPayload("json").finish()) == split_batch(BatchPayload("gzip").finish()) == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'[{"a": 1}',
        b"\x1f\x8b",
        gzip.compress(b"[]")[:-3],
        gzip.compress(b"[" + b" " * MAX_BATCH_BYTES + b"]"),
        b"[" + b" " * MAX_BATCH_BYTES + b"]",
    ],
    ids=["nothing", "no list", "cut JSON", "mark alone", "cut gzip", "bomb", "large"],
)
def test_a_payload_that_is_no_batch_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        split_batch(payload)


def test_events_are_collected_until_the_time_or_the_bytes_are_over() -> None:
    collector = BatchCollector(BatchSettings(seconds=2.0, bytes=1200, encoding="json"), "v/batch/door")
    (one, first), (two, second), (three, third) = (make_row(number) for number in (1, 2, 3))
    assert 400 < len(first.payload) < 600
    assert collector.add(one, first, 10.0) == collector.add(two, second, 11.0) == []
    assert collector.take_due(11.9) == []
    assert collector.seconds_left(11.5) == 0.5
    (full,) = collector.add(three, third, 11.9)
    assert (full.rows, full.message.parts) == ((one, two), (first, second))
    assert (full.message.topic, full.message.content_type, full.message.sequence) == ("v/batch/door", BATCH_TYPE, 2)
    assert len(full.message.payload) <= 1200
    assert collector.take_due(13.8) == []
    (late,) = collector.take_due(13.9)
    assert late.rows == (three,)
    assert collector.take() == []


def test_an_event_that_is_too_large_goes_alone_and_an_urgent_one_at_once() -> None:
    collector = BatchCollector(BatchSettings(seconds=5.0, bytes=512, encoding="json"), "v/batch/door")
    rows = [make_row(number) for number in (1, 2)]
    large = [(row, Message(each.topic, each.payload + b" " * 600, sequence=each.sequence)) for row, each in rows]
    collector.add(*large[0], 0.0)
    (alone,) = collector.add(*large[1], 0.0)
    assert split_batch(alone.message.payload) == [rows[0][1].payload]
    collector = BatchCollector(BatchSettings(seconds=5.0), "v/batch/door")
    assert collector.add(*make_row(1), 0.0) + collector.take_due(0.0) == []
    assert collector.add(*make_row(2, priority=6), 0.0) == []
    (urgent,) = collector.take_due(0.0)
    assert len(urgent.rows) == 2


def test_without_seconds_each_event_is_a_message_of_its_own() -> None:
    row, message = make_row(1)
    (sent,) = BatchCollector(BatchSettings(), "v/batch/door").add(row, message, 0.0)
    assert sent.message is message


def test_random_bytes_do_not_compress_beyond_the_limit() -> None:
    collector = BatchCollector(BatchSettings(seconds=5.0, bytes=2048), "v/batch/door")
    sent = []
    for number in range(1, 200):
        row, message = make_row(number)
        payload = message.payload[:-1] + b',"x":"' + os.urandom(100 + number).hex().encode() + b'"}'
        sent += collector.add(row, Message(message.topic, payload, sequence=number), 0.0)
    sent += collector.take()
    assert [row.sequence for each in sent for row in each.rows] == list(range(1, 200))
    assert max(len(each.message.payload) for each in sent) <= 2048
