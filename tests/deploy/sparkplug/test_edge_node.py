"""The edge node publishes births, data and deaths as Sparkplug has them; Eclipse Tahu's library reads them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from paths import ROOT, TESTS

from vedette.deploy.sparkplug.camera_metrics import LATE_SECONDS, CameraMessage, CameraMetrics, read_topic
from vedette.deploy.sparkplug.edge_node import REBIRTH, EdgeNode, SparkplugMessage
from vedette.deploy.sparkplug.payload import BOOLEAN, DOUBLE, STRING, UINT64, Metric, decode_payload, encode_payload

LIBRARY = ROOT / "build" / "sparkplug" / "node_modules"
DOOR = "plant:hall:line1:box:door"
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
needs_tahu = pytest.mark.skipif(
    shutil.which("node") is None or not LIBRARY.exists(), reason="needs sparkplug-payload: tests/servers"
)


def with_tahu(decode: Iterable[bytes] = (), encode: Iterable[dict[str, Any]] = ()) -> dict[str, list[Any]]:
    """Decodes and encodes payloads by Eclipse Tahu's library."""
    given = json.dumps({"decode": [base64.b64encode(each).decode() for each in decode], "encode": list(encode)})
    command = ["node", str(TESTS / "support" / "sparkplug_payload.mjs"), str(LIBRARY)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    result: dict[str, list[Any]] = json.loads(done.stdout)
    return result


def shown(messages: Iterable[SparkplugMessage]) -> list[tuple[str, int | None, dict[str, Any]]]:
    """Kind, sequence number, and metrics by name or alias."""
    found = []
    for message in messages:
        sequence, metrics = decode_payload(message.payload)
        found.append(
            (message.topic.split("/")[2], sequence, {each.name or str(each.alias): each.value for each in metrics})
        )
    return found


def event(kind: str, when: datetime = NOW, number: int = 1) -> bytes:
    data = {"kind": kind, "event": f"e{number}", "top_score": 7.5, "predictions": [{"label": "dent", "score": 7.5}]}
    return json.dumps({"time": when.isoformat(), "data": data}).encode()


def test_birth_data_and_death_follow_each_other_in_one_sequence() -> None:
    node = EdgeNode("Plant", "cameras", {"Program": "vedette"})
    will = node.begin_connection()
    assert (will.topic, decode_payload(will.payload)[0]) == ("spBv1.0/Plant/NDEATH/cameras", None)
    assert shown(node.birth()) == [("NBIRTH", 0, {"bdSeq": 0, REBIRTH: False, "Properties/Program": "vedette"})]
    score, alarm = Metric("Score", DOUBLE, 1.5), Metric("Alarm", BOOLEAN, False)
    assert shown(node.report(DOOR, [score, alarm])) == [("DBIRTH", 1, {"Score": 1.5, "Alarm": False})]
    assert shown(node.report(DOOR, [score, alarm])) == [], "nothing changed"
    (data,) = node.report(DOOR, [Metric("Alarm", BOOLEAN, True)])
    assert data.topic == f"spBv1.0/Plant/DDATA/cameras/{DOOR}"
    assert shown([data]) == [("DDATA", 2, {"2": True})], "by its alias"
    ((kind, number, metrics),) = shown(node.report(DOOR, [Metric("Label", STRING, "dent")]))
    assert (kind, number, metrics) == ("DBIRTH", 3, {"Score": 1.5, "Alarm": True, "Label": "dent"}), "a new metric"
    assert shown(node.remove(DOOR)) == [("DDEATH", 4, {})]
    assert shown(node.remove(DOOR)) == []


def test_aliases_are_of_one_metric_of_the_node() -> None:
    node = EdgeNode("Plant", "cameras", {})
    births = [message for device in ("a", "b") for message in node.report(device, [Metric("Alarm", BOOLEAN, False)])]
    aliases = [metric.alias for message in births for metric in decode_payload(message.payload)[1]]
    assert len(set(aliases)) == 2
    list(node.remove("a"))
    (again,) = node.report("a", [Metric("Alarm", BOOLEAN, False)])
    assert decode_payload(again.payload)[1][0].alias == aliases[0]


def test_sequence_and_number_of_the_connection_wrap_around() -> None:
    node = EdgeNode("Plant", "cameras", {})
    for _ in range(257):
        will = node.begin_connection()
    assert decode_payload(will.payload)[1][0].value == 0
    list(node.birth())
    numbers = [
        number for count in range(300) for _, number, _ in shown(node.report(DOOR, [Metric("N", UINT64, count)]))
    ]
    assert numbers == [(count + 1) % 256 for count in range(300)]


def test_only_the_command_of_this_node_brings_births_again() -> None:
    node = EdgeNode("Plant", "cameras", {})
    node.begin_connection()
    list(node.report(DOOR, [Metric("Alarm", BOOLEAN, True)]))
    command = encode_payload([Metric(REBIRTH, BOOLEAN, True)], None)
    assert node.is_rebirth("spBv1.0/Plant/NCMD/cameras", command)
    assert not node.is_rebirth("spBv1.0/Plant/NCMD/others", command)
    assert not node.is_rebirth("spBv1.0/Plant/NCMD/cameras", encode_payload([Metric(REBIRTH, BOOLEAN, False)], None))
    assert not node.is_rebirth("spBv1.0/Plant/NCMD/cameras", b"\xff nonsense")
    assert [(kind, number) for kind, number, _ in shown(node.birth())] == [("NBIRTH", 0), ("DBIRTH", 1)]


def test_messages_of_a_camera_become_metrics() -> None:
    camera = CameraMetrics(DOOR)
    say = lambda level, payload, rule="": {  # noqa: E731
        each.name: each.value for each in camera.take(CameraMessage(DOOR, level, rule), payload, NOW.timestamp())
    }
    assert say("availability", b"online") == {}
    assert camera.is_online
    assert say("evt", event("new"), "presence") == {
        "Rules/presence/Alarm": True, "Rules/presence/Score": 7.5, "Rules/presence/Label": "dent"}  # fmt: skip
    say("evt", event("new", number=2), "presence")
    assert say("evt", event("end"), "presence")["Rules/presence/Alarm"] is True, "the other one is still open"
    assert say("evt", event("end", number=2), "presence")["Rules/presence/Alarm"] is False
    state = say("state", b'{"open": ["gate"], "faults": ["the camera is dark"]}')
    assert (state["Fault"], state["Faults"]) == (True, "the camera is dark")
    assert (state["Rules/presence/Alarm"], state["Rules/gate/Alarm"]) == (False, True)
    stats = say("stats", b'{"frames": 7, "temperature": null, "latency_ms": {"p95": 12}, "events": "many"}')
    figures = {"Frames": 7, "Temperature": None, "Latency p95 ms": 12.0, "Events": None}
    assert stats == {f"Figures/{name}": value for name, value in figures.items()}
    for nonsense in (b"", b"[]", b"{", b'{"open": 3}', b"\xff"):
        assert say("state", nonsense) == say("evt", nonsense, "presence") == {}


def test_an_event_that_comes_late_changes_nothing_that_holds_now() -> None:
    camera, node = CameraMetrics(DOOR), EdgeNode("Plant", "cameras", {})
    camera.take(CameraMessage(DOOR, "state"), b'{"open": [], "faults": []}', NOW.timestamp())
    list(node.report(DOOR, camera.current.values()))
    then = NOW - timedelta(seconds=LATE_SECONDS + 1)
    metrics = camera.take(CameraMessage(DOOR, "evt", "presence"), event("new", then), NOW.timestamp())
    assert "Rules/presence/Alarm" not in camera.current
    birth, data = node.report(DOOR, metrics)
    assert {each.name: each.value for each in decode_payload(birth.payload)[1]}["Rules/presence/Alarm"] is None
    historical = decode_payload(data.payload)[1]
    assert all(each.is_historical and each.milliseconds == 1000 * then.timestamp() for each in historical)
    assert [each.value for each in historical] == [True, 7.5, "dent"]


@pytest.mark.parametrize(
    ("topic", "device"),
    [
        ("vedette/v1/plant/hall/line1/box/state/door", DOOR),
        ("vedette/v1/plant/hall/line1/box/evt/door/presence", DOOR),
        ("vedette/v1/plant/hall/line1/box/batch/door", DOOR),
        ("vedette/v1/plant/hall/line1/box/evt/door", None),
        ("vedette/v1/plant/hall/line1/box/res/fleet/3", None),
        ("vedette/v1/plant/hall/li:ne/box/state/door", None),
        ("vedette/v1/plant/state/door", None),
    ],
)
def test_topics_of_cameras(topic: str, device: str | None) -> None:
    found = read_topic("vedette", topic)
    assert (found.device if found is not None else None) == device


@needs_tahu
def test_tahu_reads_our_payloads_and_we_read_its_command() -> None:
    node = EdgeNode("Plant", "cameras", {})
    will = node.begin_connection()
    metrics = [
        Metric("Alarm", BOOLEAN, True, 1_700_000_000_123),
        Metric("Score", DOUBLE, 24.125),
        Metric("Frames", UINT64, 5_000_000_000),
        Metric("Label", STRING, "흠집"),
        Metric("Temperature", DOUBLE, None),
    ]
    messages = [will, *node.birth(), *node.report(DOOR, metrics), *node.report(DOOR, [Metric("Score", DOUBLE, 2.0)])]
    command = {"timestamp": 1, "metrics": [{"name": REBIRTH, "type": "Boolean", "value": True}]}
    done = with_tahu([each.payload for each in messages], [command])
    death, birth, device, data = done["decode"]
    assert [(each["name"], each["type"], each["value"]) for each in death["metrics"]] == [("bdSeq", "UInt64", 0)]
    assert birth["seq"] == 0
    assert (REBIRTH, "Boolean", False) in [(each["name"], each["type"], each["value"]) for each in birth["metrics"]]
    read = {each["name"]: (each["type"], each["value"], each["alias"]) for each in device["metrics"]}
    assert read["Alarm"] == ("Boolean", True, 1)
    assert read["Score"] == ("Double", 24.125, 2)
    assert read["Label"] == ("String", "흠집", 4)
    assert read["Temperature"][:2] == ("Double", None)
    assert device["metrics"][0]["timestamp"] is not None
    (changed,) = data["metrics"]
    assert (changed["alias"], changed["value"]) == (2, 2.0)
    assert node.is_rebirth(node.topic("NCMD"), base64.b64decode(done["encode"][0]))
