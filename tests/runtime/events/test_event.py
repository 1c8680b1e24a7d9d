"""Events on the wire are CloudEvents 1.0 and what docs/events.md says."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime

import msgspec
import pytest

from vedette.runtime.clock import Clock
from vedette.runtime.events import event as events
from vedette.runtime.events.event import Event, cloud_event, new_id, notice, rfc3339, stamped
from vedette.runtime.inference.prediction import Box, Prediction

SEEN = (Prediction("anomaly", 21.5, Box(0.1, 0.2, 0.3, 0.4)),)
EVENT = Event("018f-id", "018f-new", "door", "presence", "end", 1700000001.5, 12, 1700000000.25, 30.125, SEEN, "m:1:ab")


def test_an_event_is_written_as_documented():
    written = json.loads(cloud_event(EVENT, "/plant/hall/line1/box", 42, "5eed5eed", Clock()))
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


class SetClock(Clock):
    """One that says what it is told."""

    def __init__(self, wall, since_boot, quality="unknown", boot="boot-1"):
        self.now, self.running, self.known, self.boot = wall, since_boot, quality, boot

    def wall(self):
        return self.now

    def since_boot(self):
        return self.running

    def quality(self):
        return self.known


CLOCK = SetClock(0.0, 0.0)


def test_a_wrong_clock_is_put_right_in_what_still_waits():
    """The box starts six years back, sees something 100 s after boot, and finds a time server an hour later."""
    early, right = SetClock(1_500_000_000.0, 101.0), SetClock(1_700_003_600.0, 3701.0, "synced")
    seen = msgspec.structs.replace(EVENT, taken=1_499_999_999.0, started=1_499_999_998.0)
    recorded = stamped(seen, early)
    before = json.loads(cloud_event(recorded, "/s", 1, "e", early))
    assert (before["timequality"], before["boottime"], before["bootid"]) == ("unknown", "100.000", "boot-1")
    assert "recordedtime" not in before
    after = json.loads(cloud_event(recorded, "/s", 1, "e", right))
    assert after["time"] == rfc3339(1_699_999_999.0)
    assert after["data"]["started"] == rfc3339(1_699_999_998.0)
    assert after["recordedtime"] == before["time"]
    assert after["timequality"] == "synced"


def test_another_boot_can_put_nothing_right():
    recorded = stamped(EVENT, SetClock(1_700_000_002.0, 10.0))
    later = json.loads(cloud_event(recorded, "/s", 1, "e", SetClock(1_800_000_000.0, 5.0, "synced", "boot-2")))
    assert later["time"] == rfc3339(EVENT.taken)
    assert later["timequality"] == "unknown"


def test_what_the_daemon_says_of_itself_is_an_event_too():
    buried = notice("door", "outbox", "evicted", {"first": 3, "last": 9, "count": 7}, CLOCK)
    written = json.loads(cloud_event(buried, "/a/b/c/d", 10, "e", CLOCK))
    assert written["type"] == "vedette.outbox.evicted"
    assert written["data"] == {"first": 3, "last": 9, "count": 7}


def test_the_attributes_are_legal_cloud_events():
    """CloudEvents 1.0: names of lower-case letters and digits, at most 20; an RFC 3339 time; a non-empty source."""
    written = json.loads(cloud_event(EVENT, "/a/b/c/d", 1, "e", CLOCK))
    for name, value in written.items():
        assert re.fullmatch(r"[a-z0-9]{1,20}", name)
        assert name == "data" or isinstance(value, str)
    assert {"specversion", "id", "source", "type"} <= set(written)
    assert datetime.fromisoformat(written["time"]).utcoffset().total_seconds() == 0


def test_sequences_sort_as_text():
    texts = [json.loads(cloud_event(EVENT, "/s", number, "e", CLOCK))["sequence"] for number in (9, 10, 99, 100000)]
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
