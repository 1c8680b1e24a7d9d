"""The discovery message of Home Assistant: what is in it, when it is sent, and that identifiers stay."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from published import make_context, make_event, publish

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events.sinks import Command
from vedette.runtime.integrations.home_assistant import HomeAssistant
from vedette.runtime.integrations.home_assistant_entities import make_device_id, make_slug
from vedette.runtime.monitoring.status import DaemonState

TABLE = '[home_assistant]\ndiscovery_prefix = "homeassistant"\n'
TWO_RULES = '[[rules]]\nuse = "presence"\n[[rules]]\nuse = "presence"\nname = "late"\n'
ONE_RULE = '[[rules]]\nuse = "presence"\n'


def announce(integration):
    return [json.loads(message.payload) for message in integration.messages_on_connect()]


def test_discovery_is_one_retained_message_of_the_camera(tmp_path):
    integration = HomeAssistant(make_context(tmp_path, TABLE, rules=TWO_RULES))
    (message,) = integration.messages_on_connect()
    assert message.retain
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", message.topic)
    body = json.loads(message.payload)
    platforms = {key: each["p"] for key, each in body["cmps"].items()}
    assert platforms == {
        "problem": "binary_sensor",
        "frames_per_second": "sensor",
        "temperature": "sensor",
        "backlog": "sensor",
        "top_score": "sensor",
        "model": "sensor",
        "rule_presence": "binary_sensor",
        "event_presence": "event",
        "rule_late": "binary_sensor",
        "event_late": "event",
    }
    assert body["dev"]["ids"] == [make_device_id("box", "door")]
    assert body["o"]["name"] == "Vedette"
    assert len({each["uniq_id"] for each in body["cmps"].values()}) == len(platforms)
    root = "vedette/v1/plant/hall/line1/box"
    assert body["avty"][0]["t"] == f"{root}/availability/door"
    assert body["cmps"]["event_late"]["stat_t"] == f"{root}/evt/door/late"
    assert body["cmps"]["rule_late"]["stat_t"] == f"{root}/state/door"


def test_batches_are_refused(tmp_path):
    """Nothing would go to the topics that the entities of events read."""
    with pytest.raises(ConfigProblem, match="cannot read events in batches"):
        HomeAssistant(make_context(tmp_path, f"{TABLE}[broker.batch]\nseconds = 1.0\n"))


def test_identifiers_are_the_ones_that_users_have():
    """Home Assistant keeps names, rooms and history by them: they must never change."""
    assert make_device_id("box7", "door") == "vedette_box7_door_4b3422"
    assert make_device_id("box.7", "door") == make_device_id("box.7", "door")
    assert len({make_device_id("a_b", "c"), make_device_id("a", "b_c"), make_device_id("a.b", "c")}) == 3
    assert len({make_slug("a.b"), make_slug("a_b"), make_slug("a-b")}) == 3


def test_removed_rule_is_told_to_go_and_then_left_out(tmp_path):
    context = make_context(tmp_path, TABLE, rules=TWO_RULES)
    announce(HomeAssistant(context))
    make_context(tmp_path, TABLE, rules=ONE_RULE)
    integration = HomeAssistant(context)  # after a restart
    going, gone = announce(integration)
    assert announce(integration) == [going, gone]  # the connection may have been lost
    assert going["cmps"]["event_late"] == {"p": "event"}
    assert going["cmps"]["rule_late"] == {"p": "binary_sensor"}
    assert "event_late" not in gone["cmps"]
    assert len(announce(HomeAssistant(context))) == 1


def test_changed_rules_are_announced_after_a_reload(tmp_path):
    context = make_context(tmp_path, TABLE, rules=ONE_RULE)
    integration = HomeAssistant(context)
    announce(integration)
    assert not list(integration.messages_for_state(DaemonState([], [])))
    make_context(tmp_path, TABLE, rules=TWO_RULES)
    (message,) = integration.messages_for_state(DaemonState([], []))
    assert "event_late" in json.loads(message.payload)["cmps"]
    assert not list(integration.messages_for_state(DaemonState([], [])))


@pytest.mark.parametrize(
    ("command", "answers"),
    [(Command(b"online"), 1), (Command(b"offline"), 0), (Command(b"online", retained=True), 0)],
)
def test_birth_of_home_assistant_is_answered(tmp_path, command, answers):
    integration = HomeAssistant(make_context(tmp_path, TABLE))
    assert integration.subscriptions == ("homeassistant/status",)
    assert len(list(integration.messages_for_command(command))) == answers
    assert not list(integration.messages_for_command(command))  # at most one a second


@pytest.mark.parametrize("pictures", [True, False])
def test_picture_only_if_it_may_leave(tmp_path, pictures):
    table = TABLE + f"pictures = {str(pictures).lower()}\n"
    integration = HomeAssistant(make_context(tmp_path, table, '[evidence]\nthumbnail = "webp"\n'))
    (body,) = announce(integration)
    assert ("picture" in body["cmps"]) == pictures
    if pictures:
        assert body["cmps"]["picture"]["cont_type"] == "image/webp"
        assert body["cmps"]["picture"]["img_t"] == "vedette/v1/plant/hall/line1/box/thumbnail/door"
    assert not list(integration.messages_for_event(publish(make_event(), integration.context.topics)))


def test_damaged_memory_is_no_error(tmp_path):
    context = make_context(tmp_path, TABLE)
    announce(HomeAssistant(context))
    (tmp_path / "state" / "door" / "home_assistant.json").write_bytes(b"\x00[")
    assert len(announce(HomeAssistant(context))) == 1
    assert msgspec.json.decode((tmp_path / "state" / "door" / "home_assistant.json").read_bytes())
