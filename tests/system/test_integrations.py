"""End to end: a daemon with integrations at a real broker, and Home Assistant reading what it publishes."""

from __future__ import annotations

import json
import signal
import time

import pytest
from frigate_schemas import BY_TOPIC
from home_assistant import COMMAND, HomeAssistantProcess
from jsonschema import Draft202012Validator
from mosquitto import BINARY

BOTH = """[home_assistant]
discovery_prefix = "homeassistant"
pictures = true
[frigate]
topic_prefix = "frigate"
snapshots = true
"""
EVIDENCE = '[evidence]\nthumbnail = "jpeg"\n'
ONE_RULE = """[[rules]]
use = "presence"
hysteresis = 0.0
"""
TWO_RULES = f"""{ONE_RULE}
[[rules]]
use = "presence"
name = "late"
threshold = 1e9
"""

pytestmark = pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto")


def configure(daemon, images, port, source="fps=0"):
    daemon.configure(f"file:{images}?{source}", f"mqtt://127.0.0.1:{port}")
    daemon.set_rules(EVIDENCE + TWO_RULES)
    path = daemon.folder / "vedette.toml"
    path.write_text(path.read_text() + BOTH)


def retained(subscriber):
    return {each.topic: bytes(each.payload) for each in subscriber.messages if each.retain and each.payload}


def test_messages_of_integrations_go_over_a_real_broker(daemon_process, line_images, mosquitto, subscribe, wait_until):
    """Each event has its counterpart; retained topics stay, and go with the tables of vedette.toml."""
    subscriber = subscribe(mosquitto.port)
    wait_until(subscriber.subscribed.is_set, "the subscription")
    configure(daemon_process, line_images, mosquitto.port)
    assert daemon_process.start().wait(60) == 0, daemon_process.log()
    wait_until(lambda: len(subscriber.events) == daemon_process.recorded() == 20, "all events")
    wait_until(lambda: b"stopped" in [each.payload for each in subscriber.messages], "the end")
    frigate = [
        (each.topic.removeprefix("frigate/"), bytes(each.payload))
        for each in subscriber.messages
        if each.topic.startswith("frigate/")
    ]
    for topic, payload in frigate:
        if schema := BY_TOPIC.get(topic):
            Draft202012Validator(schema).validate(json.loads(payload))
    bodies = [json.loads(payload) for topic, payload in frigate if topic == "events"]
    assert [body["type"] for body in bodies] == ["new", "end"] * 10
    assert [topic for topic, _ in frigate].count("reviews") == 20
    pictures = [payload for topic, payload in frigate if topic == "door/anomaly/snapshot"]
    assert len(pictures) == 10
    assert all(picture.startswith(b"\xff\xd8") for picture in pictures)
    assert frigate[-1] == ("available", b"offline")
    assert subscriber.latest("thumbnail") == pictures[-1]

    subscriber.client.disconnect()
    late = subscribe(mosquitto.port)
    wait_until(late.subscribed.is_set, "the second subscription")
    wait_until(lambda: len(retained(late)) >= 8, "the retained messages")
    ours = {topic for topic in retained(late) if not topic.startswith("test/")}
    assert ours == {
        *(topic for topic in ours if topic.startswith("homeassistant/device/vedette_box_door_")),
        *(f"frigate/{each}" for each in ("available", "door/anomaly/snapshot", "door/review_status")),
        "frigate/door/status/detect",
    }
    late.client.disconnect()
    path = daemon_process.folder / "vedette.toml"
    path.write_text(path.read_text().removesuffix(BOTH))
    assert daemon_process.start().wait(60) == 0, daemon_process.log()
    gone = subscribe(mosquitto.port)
    wait_until(gone.subscribed.is_set, "the third subscription")
    wait_until(lambda: any("/stats/" in topic for topic in retained(gone)), "the daemon's own retained messages")
    assert not [topic for topic in retained(gone) if topic in ours]


@pytest.mark.slow
@pytest.mark.skipif(not COMMAND, reason="needs Home Assistant: VEDETTE_HOME_ASSISTANT, see tests/support")
def test_home_assistant_shows_the_camera(daemon_process, line_images, mosquitto, wait_until, tmp_path):
    """A camera appears with its entities, they follow events, and go with their rule; nothing is logged as wrong."""
    home = HomeAssistantProcess(mosquitto.port, tmp_path)
    try:
        configure(daemon_process, line_images, mosquitto.port, "fps=1&loop=true")
        daemon = daemon_process.start()
        home.wait_for(wait_until, "binary_sensor.box_door_presence_open", "on")
        home.wait_for(wait_until, "binary_sensor.box_door_presence_open", "off")
        home.wait_for(wait_until, "sensor.box_door_events_waiting", "0")
        (device,) = home.ask("devices")
        assert (device["name"], device["model"]) == ("box door", "weave")
        states = home.ask("states")
        event = states["event.box_door_presence"]
        assert event["event_types"] == ["new", "update", "end"]
        assert event["event_type"] in ("new", "end")
        assert event["labels"] == ["anomaly"]
        assert float(event["score"]) > 0
        assert states["binary_sensor.box_door_problem"]["faults"] == []
        assert states["sensor.box_door_model"]["state"].startswith("weave:1:")
        assert states["image.box_door_last_event"]["state"] not in ("unknown", "unavailable")
        assert states["binary_sensor.box_door_late_open"]["state"] == "off"
        assert states["event.box_door_late"]["state"] == "unknown"

        # A removed rule goes with its entities; the other stays.
        daemon_process.set_rules(ONE_RULE)
        daemon.send_signal(signal.SIGHUP)
        home.wait_for(wait_until, "event.box_door_late", None)
        assert home.state("event.box_door_presence") is not None
        assert home.state("binary_sensor.box_door_late_open") is None

        # An end without notice, and the way back.
        daemon.kill()
        home.wait_for(wait_until, "event.box_door_presence", "unavailable")
        daemon = daemon_process.start()
        home.wait_for(wait_until, "binary_sensor.box_door_presence_open", "on")
        home.ask("restart")
        time.sleep(1)
        assert home.state("sensor.box_door_events_waiting") is not None

        # An orderly end, and the end of the integration.
        daemon.terminate()
        assert daemon.wait(30) == 0
        home.wait_for(wait_until, "event.box_door_presence", "unavailable")
        path = daemon_process.folder / "vedette.toml"
        path.write_text(path.read_text().removesuffix(BOTH))
        daemon_process.start()
        home.wait_for(wait_until, "event.box_door_presence", None)
        assert home.ask("devices") == []
    finally:
        home.close()
    mine = ("WARNING:homeassistant.components.mqtt", "ERROR:")
    assert not [line for line in home.log.read_text().splitlines() if line.startswith(mine)]
