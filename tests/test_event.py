"""Events on the wire are CloudEvents 1.0 and what docs/events.md says."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime

import pytest

from vedette.runtime import event as events
from vedette.runtime.event import Event, Tombstone, cloud_event, new_id, rfc3339
from vedette.runtime.prediction import Box, Prediction

SEEN = (Prediction("anomaly", 21.5, Box(0.1, 0.2, 0.3, 0.4)),)
EVENT = Event("018f-id", "018f-new", "door", "presence", "end", 1700000001.5, 12, 1700000000.25, 30.125, SEEN, "m:1:ab")


def test_an_event_is_written_as_documented():
    written = json.loads(cloud_event(EVENT, "/plant/hall/line1/box", 42, "5eed5eed"))
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


def test_a_tombstone_is_an_event_too():
    written = json.loads(cloud_event(Tombstone("id", "door", 0.0, 3, 9, 7), "/a/b/c/d", 10, "e"))
    assert written["type"] == "vedette.outbox.evicted"
    assert written["data"] == {"first": 3, "last": 9, "count": 7}


def test_the_attributes_are_legal_cloud_events():
    """CloudEvents 1.0: names of lower-case letters and digits, at most 20; an RFC 3339 time; a non-empty source."""
    written = json.loads(cloud_event(EVENT, "/a/b/c/d", 1, "e"))
    for name, value in written.items():
        assert re.fullmatch(r"[a-z0-9]{1,20}", name)
        assert name == "data" or isinstance(value, str)
    assert {"specversion", "id", "source", "type"} <= set(written)
    assert datetime.fromisoformat(written["time"]).utcoffset().total_seconds() == 0


def test_sequences_sort_as_text():
    texts = [json.loads(cloud_event(EVENT, "/s", number, "e"))["sequence"] for number in (9, 10, 99, 100000)]
    assert texts == sorted(texts)


def test_ids_are_uuids_of_version_7_that_rise(monkeypatch):
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}
    monkeypatch.setattr(events.time, "time_ns", lambda: 0)
    assert new_id() > ids[-1], "a clock that is set back does not make older ids"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "1970-01-01T00:00:00.000Z"), (1e9 + 0.9996, "2001-09-09T01:46:40.999Z")]
)
def test_times(seconds, text):
    assert rfc3339(seconds) == text
