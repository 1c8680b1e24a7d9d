"""Messages of boxes as metrics: a box that says what no metric can hold must not end the bridge for all others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vedette.deploy.sparkplug.camera_metrics import MAX_OPEN, CameraMessage, CameraMetrics
from vedette.deploy.sparkplug.payload import encode_payload

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


def test_texts_are_cut() -> None:
    found = take(CameraMetrics(DOOR), "info", {"model": "x" * 100_000, "runtime": ["y"] * 5000})
    assert all(len(each.value) <= 500 for each in found)
