"""The integration `onvif` publishes what ONVIF specifies for MQTT, of what rules report of scripted scenes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli_w
from daemon_process import DaemonProcess
from mosquitto import BINARY, Mosquitto
from scenes import Scene, Walker, run_rule
from subscriber import Subscriber
from waiting import wait_for

from vedette.runtime.clock import Clock
from vedette.runtime.config.configuration import load_config
from vedette.runtime.events.cloud_event import CloudEvent, EventData, encode_cloud_event
from vedette.runtime.events.event import make_system_event
from vedette.runtime.events.sinks import Message
from vedette.runtime.events.topics import Topics
from vedette.runtime.integrations import IntegrationContext, PublishedEvent, PublishedSystemEvent
from vedette.runtime.integrations.onvif import Onvif
from vedette.runtime.integrations.onvif_mapping import FAULT_TOPICS, RULE_TOPICS, map_class
from vedette.runtime.rules import RULES

YARD = [[0.2, 0.5], [0.8, 0.5], [0.8, 1.0], [0.2, 1.0]]
LEFT_TO_RIGHT = Walker(((0.0, 0.05, 0.7), (8.0, 0.95, 0.7)))
CAR_BEHIND = Walker(((1.0, 0.05, 0.9), (9.0, 0.95, 0.9)), "car")
ROOT = "vedette/v1/plant/hall/line1/box"
Play = Callable[[dict[str, Any], Scene], list[Message]]


@pytest.fixture
def onvif(tmp_path: Path) -> Callable[..., Onvif]:
    """Makes the integration of a camera with some rules."""

    def make(*tables: dict[str, Any], onvif: str = "enabled = true") -> Onvif:
        (tmp_path / "cameras").mkdir(exist_ok=True)
        (tmp_path / "vedette.toml").write_text(
            f'[device]\nname = "box"\nsite = "plant"\narea = "hall"\nline = "line1"\nstate = "{tmp_path}"\n'
            f'keys = "{tmp_path}"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n[onvif]\n{onvif}\n'
        )
        given = tables or ({"use": "presence"},)
        camera = {"source": "file:x", "bundle": f"{tmp_path}/b", "rules": list(given)}
        (tmp_path / "cameras" / "door.toml").write_text(tomli_w.dumps(camera))
        config = load_config(tmp_path, "door")
        manifest: Any = None  # it asks the model for nothing
        return Onvif(IntegrationContext(lambda: config, manifest, Topics.from_config(config)))

    return make


def publish(integration: Onvif, events: Iterable[Any]) -> list[Message]:
    """What it makes of events as they are published."""
    messages: list[Message] = []
    for number, event in enumerate(events):
        payload = encode_cloud_event(event, "/plant/hall/line1/box", number + 1, "e", Clock())
        if hasattr(event, "facts"):
            facts = msgspec.json.decode(payload, type=CloudEvent[dict[str, Any]])
            shown = PublishedSystemEvent("door", event.rule, event.kind, "", facts, payload)
            messages += integration.messages_for_system_event(shown)
        else:
            message = msgspec.json.decode(payload, type=CloudEvent[EventData])
            messages += integration.messages_for_event(PublishedEvent("door", event.rule, "", message, payload))
    return messages


def bodies(messages: Iterable[Message], topic: str) -> list[Any]:
    """The payloads on a topic, as JSON; None: empty."""
    return [json.loads(each.payload) if each.payload else None for each in messages if each.topic == topic]


def test_every_rule_has_a_topic() -> None:
    assert RULE_TOPICS.keys() == RULES.keys()
    for topic in [each.topic for each in RULE_TOPICS.values()] + list(FAULT_TOPICS.values()):
        assert not set(topic) & set("+#&"), topic
        assert not topic.startswith("tns1:"), "MQTT knows no name spaces: the prefix is dropped"


def test_object_that_enters_and_leaves_is_a_retained_property(onvif: Callable[..., Onvif]) -> None:
    rule = {"use": "zone", "name": "yard", "zones": {"yard": YARD}}
    integration = onvif(rule)
    topic = f"{ROOT}/onvif-ej/RuleEngine/FieldDetector/ObjectsInside/&door/vedette/yard"
    (before,) = bodies(integration.messages_on_connect(), topic)
    assert before["Data"] == {"ClassTypes": "", "IsInside": False}, "a state of an earlier run must not stay"
    played = run_rule(Scene((LEFT_TO_RIGHT, CAR_BEHIND), 12.0), rule)
    messages = publish(integration, played.events)
    assert all(each.retain and each.content_type == "application/json" for each in messages)
    first, *_, last = bodies(messages, topic)
    assert first.keys() == {"UtcTime", "Source", "Data"}, "a PropertyOperation is no part of it"
    assert first["UtcTime"].endswith("Z")
    assert first["Source"] == {"VideoSource": "door", "AnalyticsConfiguration": "vedette", "Rule": "yard"}
    assert first["Data"] == {"ObjectId": "1", "ClassTypes": "Human", "IsInside": True, "vedette:Count": 1}
    both = [body["Data"] for body in bodies(messages, topic) if body["Data"].get("ObjectId") == "1 2"]
    assert both
    assert both[0]["ClassTypes"] == "Human Vehicle", "one for each object, in the same order"
    assert last["Data"]["IsInside"] is False


def test_crossings_are_reported_and_counted(onvif: Callable[..., Onvif]) -> None:
    rule = {"use": "crossing", "name": "gate", "line": [[0.5, 0.2], [0.5, 1.0]], "direction": "left"}
    integration = onvif(rule)
    played = run_rule(Scene((LEFT_TO_RIGHT, CAR_BEHIND), 12.0), rule)
    assert [event.kind for event in played.events] == ["new", "end"] * 2
    messages = publish(integration, played.events)
    crossed = f"{ROOT}/onvif-ej/RuleEngine/LineDetector/Crossed/&door/vedette/gate"
    counter = f"{ROOT}/onvif-ej/RuleEngine/CountAggregation/Counter/&door/vedette/gate"
    assert [body["Data"] for body in bodies(messages, crossed)] == [
        {"ObjectId": "1", "ClassTypes": "Human"},
        {"ObjectId": "2", "ClassTypes": "Vehicle"},
    ]
    assert not any(each.retain for each in messages if each.topic == crossed), "it is no state"
    assert [body["Data"] for body in bodies(messages, counter)] == [{"Count": 1}, {"Count": 2}]
    assert [body["Data"]["Count"] for body in bodies(integration.messages_on_connect(), counter)] == [2]


def test_loitering_is_deleted_when_it_is_over(onvif: Callable[..., Onvif]) -> None:
    rule = {"use": "dwell", "name": "loiter", "polygon": YARD, "seconds": 2.0}
    integration = onvif(rule)
    topic = f"{ROOT}/onvif-ej/RuleEngine/LoiteringDetector/ObjectIsLoitering/&door/vedette/loiter"
    assert bodies(integration.messages_on_connect(), topic) == [None]
    messages = publish(integration, run_rule(Scene((LEFT_TO_RIGHT,), 12.0), rule).events)
    first, *_, last = bodies(messages, topic)
    assert first["Data"]["ObjectId"] == "1"
    assert first["Data"]["Since"] <= first["UtcTime"]
    assert last is None, "an empty payload deletes a property"


def test_presence_lists_what_is_seen(onvif: Callable[..., Onvif]) -> None:
    rule = {"use": "presence"}
    messages = publish(onvif(rule), run_rule(Scene((CAR_BEHIND,), 12.0), rule).events)
    topic = f"{ROOT}/onvif-ej/RuleEngine/ObjectDetection/Object/&door/vedette/presence"
    classes = [body["Data"]["ClassTypes"] for body in bodies(messages, topic)]
    assert (classes[0], classes[-1]) == ("Vehicle", ""), "an empty list when nothing is there any more"


def test_faults_of_the_camera_have_their_names_of_tampering(onvif: Callable[..., Onvif]) -> None:
    integration = onvif(onvif='enabled = true\ntopic_prefix = "Gate7"')
    topic = "Gate7/onvif-ej/VideoSource/GlobalSceneChange/ImagingService/&door"
    states = integration.messages_on_connect()
    assert {each.topic for each in states} >= {f"Gate7/onvif-ej/{name}/&door" for name in FAULT_TOPICS.values()}
    moved = make_system_event("door", "camera", "moved", {"seconds": 20.0}, Clock())
    recovered = make_system_event("door", "camera", "recovered", {"from": "moved", "seconds": 9.0}, Clock())
    hot = make_system_event("door", "device", "hot", {"temperature": 80.0}, Clock())
    began, ended = (json.loads(each.payload) for each in publish(integration, [moved, hot, recovered]))
    assert began["Source"] == {"Source": "door"}
    assert (began["Data"], ended["Data"]) == ({"State": True}, {"State": False})
    publish(integration, [moved])
    assert bodies(integration.messages_on_connect(), topic)[0]["Data"] == {"State": True}


def test_labels_are_object_types_without_blanks() -> None:
    given = ("person", "Truck", "fork lift", "anomaly")
    assert [map_class(label) for label in given] == ["Human", "Vehicle", "fork_lift", "anomaly"]


@pytest.mark.wait
@pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto")
def test_daemon_publishes_them_over_its_connection(
    daemon_process: DaemonProcess, line_images: Path, mosquitto: Mosquitto, subscribe: Callable[[int], Subscriber]
) -> None:
    subscriber = subscribe(mosquitto.port)
    wait_for(subscriber.subscribed.is_set, "the subscription")
    daemon_process.configure(f"file:{line_images}?fps=20", f"mqtt://127.0.0.1:{mosquitto.port}")
    (daemon_process.folder / "vedette.toml").open("a").write("[onvif]\nenabled = true\n")
    daemon_process.start()
    root = "test/v1/plant/hall/line1/box/onvif-ej"
    topic = f"{root}/RuleEngine/ObjectDetection/Object/&door/vedette/presence"
    seen = lambda: [json.loads(each.payload)["Data"] for each in subscriber.messages if each.topic == topic]  # noqa: E731
    wait_for(lambda: {"ClassTypes": "anomaly"} in seen() and {"ClassTypes": ""} in seen(), "an alarm and its end")
    assert subscriber.events, "our own events go on"
    faults = {each.topic for each in subscriber.messages if each.topic.startswith(f"{root}/VideoSource/")}
    assert len(faults) == len(FAULT_TOPICS)
