"""Messages of boxes as metrics: a box that says what no metric can hold must not end the bridge for all others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vedette.deploy.sparkplug.camera_metrics import MAX_OPEN, CameraMessage, CameraMetrics
from vedette.deploy.sparkplug.payload import encode_payload
from vedette.runtime.config.batch_table import BatchEncoding
from vedette.runtime.events.event_batch import BatchPayload

DOOR = "plant:hall:line1:box:door"


def take(metrics: CameraMetrics, level: str, body: Any, rule: str = "") -> list[Any]:
    found = metrics.take(CameraMessage(DOOR, level, rule), json.dumps(body).encode(), 2e9)
    assert encode_payload(found, 0)
    return found


@pytest.mark.parametrize("figure", [2**64, 2**70, 1e300, -1, "5", None, True])
def test_a_figure_that_no_metric_holds_is_unknown(figure: Any) -> None:
    (metric,) = take(CameraMetrics(DOOR), "stats", {"frames": figure})
    assert metric.value in (None, 1)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00", "1969-12-31T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_an_event_from_before_1970_is_told_or_left_out(time: str) -> None:
    data = {"kind": "new", "event": "e", "top_score": 1.0}
    take(CameraMetrics(DOOR), "evt", {"time": time, "data": data}, "presence")


def test_events_that_never_end_are_not_remembered_without_a_limit() -> None:
    metrics = CameraMetrics(DOOR)
    for number in range(MAX_OPEN + 50):
        data = {"kind": "new", "event": f"e{number}", "top_score": 1.0}
        take(metrics, "evt", {"time": "2033-05-18T03:33:20Z", "data": data}, "presence")
    assert len(metrics.open["presence"]) == MAX_OPEN


@pytest.mark.parametrize("encoding", ["json", "gzip"])
def test_events_of_a_batch_are_read_one_by_one(encoding: BatchEncoding) -> None:
    """Damaged ones, and those of the device, cost no other."""
    batch = BatchPayload(encoding)
    for rule, kind, more in (
        ("dwell", "new", {}),
        ("yard.left", "new", {}),
        ("dwell", "end", {}),
        ("camera", "dark", {"data": {"seconds": 3.0}}),
        ("zone", "new", {"time": "0001-01-01T00:00:00+14:00"}),
        ("a/b", "new", {}),
    ):
        data = {"kind": kind, "event": f"e-{rule}", "top_score": 1.5}
        event = {"type": f"vedette.{rule}.{kind}", "time": "2033-05-18T03:33:20Z", "data": data, **more}
        batch.add(json.dumps(event).encode())
    metrics = CameraMetrics(DOOR)
    metrics.take(CameraMessage(DOOR, "batch"), batch.finish(), 2e9)
    alarms = {name: each.value for name, each in metrics.current.items() if name.endswith("Alarm")}
    assert alarms["Rules/dwell/Alarm"] is False
    assert alarms["Rules/yard.left/Alarm"] is True
    assert not any("a/b" in name for name in metrics.current)
    assert metrics.take(CameraMessage(DOOR, "batch"), b"\x1f\x8b nonsense", 2e9) == []


def test_texts_are_cut() -> None:
    found = take(CameraMetrics(DOOR), "info", {"model": "x" * 100_000, "runtime": ["y"] * 5000})
    assert all(len(each.value) <= 500 for each in found)
