"""Events are encoded as CloudEvents 1.0, as docs/events.md documents."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime

import msgspec
import pytest

from vedette.runtime.clock import Clock
from vedette.runtime.events import event as events
from vedette.runtime.events.cloud_event import encode_cloud_event
from vedette.runtime.events.event import (
    Event,
    format_rfc3339,
    make_system_event,
    new_event_id,
    stamp_time,
)
from vedette.runtime.inference.prediction import Box, Prediction

PREDICTIONS = (Prediction("anomaly", 21.5, Box(0.1, 0.2, 0.3, 0.4)),)
EVENT = Event(
    "018f-id", "018f-new", "door", "presence", "end", 1700000001.5, 12, 1700000000.25, 30.125, PREDICTIONS, "m:1:ab"
)


def test_event_is_encoded_as_documented():
    written = json.loads(encode_cloud_event(EVENT, "/plant/hall/line1/box", 42, "5eed5eed", Clock()))
    assert written == {
        "specversion": "1.0",
        "id": "018f-id",
        "source": "/plant/hall/line1/box/door",
        "type": "vedette.presence.end",
        "time": "2023-11-14T22:13:21.500Z",
        "sequence": "000000000042",
        "epoch": "5eed5eed",
        "timequality": "unknown",
        "modelid": "m:1:ab",
        "data": {
            "event": "018f-new",
            "kind": "end",
            "frame": 12,
            "started": "2023-11-14T22:13:20.250Z",
            "top_score": 30.125,
            "predictions": [
                {"label": "anomaly", "score": 21.5, "box": {"left": 0.1, "top": 0.2, "right": 0.3, "bottom": 0.4}}
            ],
        },
    }


class FakeClock(Clock):
    """A clock with fixed values."""

    def __init__(self, wall, since_boot, quality="unknown", boot="boot-1"):
        self.wall, self.since_boot, self.quality, self.boot = wall, since_boot, quality, boot

    def wall_time(self):
        return self.wall

    def seconds_since_boot(self):
        return self.since_boot

    def time_quality(self):
        return self.quality


CLOCK = FakeClock(0.0, 0.0)


def test_times_are_corrected_after_clock_synchronization():
    """The clock is six years slow at boot; an event follows after 100 s; an hour later the clock is synchronized."""
    before_sync, after_sync = FakeClock(1_500_000_000.0, 101.0), FakeClock(1_700_003_600.0, 3701.0, "synced")
    event = msgspec.structs.replace(EVENT, taken=1_499_999_999.0, started=1_499_999_998.0)
    recorded = stamp_time(event, before_sync)
    before = json.loads(encode_cloud_event(recorded, "/s", 1, "e", before_sync))
    assert (before["timequality"], before["boottime"], before["bootid"]) == ("unknown", "100.000", "boot-1")
    assert "recordedtime" not in before
    after = json.loads(encode_cloud_event(recorded, "/s", 1, "e", after_sync))
    assert after["time"] == format_rfc3339(1_699_999_999.0)
    assert after["data"]["started"] == format_rfc3339(1_699_999_998.0)
    assert after["recordedtime"] == before["time"]
    assert after["timequality"] == "synced"


def test_times_from_another_boot_are_not_corrected():
    recorded = stamp_time(EVENT, FakeClock(1_700_000_002.0, 10.0))
    later = json.loads(encode_cloud_event(recorded, "/s", 1, "e", FakeClock(1_800_000_000.0, 5.0, "synced", "boot-2")))
    assert later["time"] == format_rfc3339(EVENT.taken)
    assert later["timequality"] == "unknown"


def test_system_event_is_encoded_as_cloud_event():
    tombstone = make_system_event("door", "outbox", "evicted", {"first": 3, "last": 9, "count": 7}, CLOCK)
    written = json.loads(encode_cloud_event(tombstone, "/a/b/c/d", 10, "e", CLOCK))
    assert written["type"] == "vedette.outbox.evicted"
    assert written["data"] == {"first": 3, "last": 9, "count": 7}


def test_attributes_conform_to_cloud_events():
    """CloudEvents 1.0: names of lower-case letters and digits, at most 20; an RFC 3339 time; a non-empty source."""
    written = json.loads(encode_cloud_event(EVENT, "/a/b/c/d", 1, "e", CLOCK))
    for name, value in written.items():
        assert re.fullmatch(r"[a-z0-9]{1,20}", name)
        assert name == "data" or isinstance(value, str)
    assert {"specversion", "id", "source", "type"} <= set(written)
    assert datetime.fromisoformat(written["time"]).utcoffset().total_seconds() == 0


def test_sequence_numbers_sort_as_text():
    texts = [
        json.loads(encode_cloud_event(EVENT, "/s", number, "e", CLOCK))["sequence"] for number in (9, 10, 99, 100000)
    ]
    assert texts == sorted(texts)


def test_ids_are_increasing_uuid7(monkeypatch):
    ids = [new_event_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}
    monkeypatch.setattr(events.time, "time_ns", lambda: 0)
    assert new_event_id() > ids[-1], "ids increase even if the clock is set back"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "1970-01-01T00:00:00.000Z"), (1e9 + 0.9996, "2001-09-09T01:46:40.999Z")]
)
def test_format_rfc3339_truncates_to_milliseconds(seconds, text):
    assert format_rfc3339(seconds) == text
