"""Holds messages of a device against the JSON Schemas in docs/schemas; a field that no schema has is an error, too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from paho.mqtt.client import MQTTMessage
from paths import ROOT

from vedette.runtime.events.event_batch import split_batch

SCHEMAS = ROOT / "docs" / "schemas"
AVAILABILITY = (b"online", b"offline", b"stopped")
BY_LEVEL = {
    "evt": "event",
    "info": "info",
    "line": "line",
    "state": "state",
    "stats": "stats",
    "time": "time-correlation",
}


def close_objects(schema: Any) -> Any:
    """The schema, but objects have no fields other than those that it names."""
    if isinstance(schema, list):
        return [close_objects(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: close_objects(value) for key, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("required"), list):
        closed.setdefault("additionalProperties", False)
    return closed


@cache
def load_validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(close_objects(json.loads((SCHEMAS / f"{name}.json").read_text())))


def describe_errors(name: str, body: Any) -> list[str]:
    """What is wrong with a message of the schema `name`."""
    return [f"{error.json_path}: {error.message}" for error in load_validator(name).iter_errors(body)]


def schema_of(topic: str, payload: bytes) -> str | None:
    """The schema of a message on a topic of a device; None: the topic carries none, or is not of a device.

    The rule `test` is that of events that a test makes up.
    """
    levels = topic.split("/")
    if "v1" not in levels or len(levels) < levels.index("v1") + 7:
        return None
    level = levels[levels.index("v1") + 5]
    if level == "evt" and levels[-1] == "test":
        return None
    if level == "res":
        marks = {b'"unacknowledged"': "golden-part-status", b'"state"': "order-report"}
        return next((name for mark, name in marks.items() if mark in payload), "replay-answer")
    if level == "stats" and levels[-2] == "part":
        return "stats-part"
    if level == "evt" and b'"modelid"' not in payload:
        return "system-event"
    return BY_LEVEL.get(level)


def check_messages(messages: Iterable[MQTTMessage]) -> None:
    """Fails if one of the messages that a device published is not as documented."""
    for message in messages:
        payload = bytes(message.payload)
        if "/v1/" in message.topic and "/availability/" in message.topic:
            assert payload in AVAILABILITY, f"{message.topic}: {payload!r}"
        elif "/v1/" in message.topic and "/batch/" in message.topic:
            for event in split_batch(payload):
                name = "event" if b'"modelid"' in event else "system-event"
                assert not (errors := describe_errors(name, json.loads(event))), f"{message.topic}: {errors}: {event!r}"
        elif (name := schema_of(message.topic, payload)) is not None and payload:
            assert not (errors := describe_errors(name, json.loads(payload))), f"{message.topic}: {errors}: {payload!r}"
