"""The discovery message of Home Assistant: one device with its entities for one camera.

The entities read the messages that the daemon publishes anyway; the templates pick their values. Home Assistant knows
device-based discovery since 2024.12.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from ..distribution import installed_version
from ..events.topics import Topics

EVENT_TYPES = ("new", "update", "end")
_EVENT_TEMPLATE = (
    "{{ {'event_type': value_json.data.kind, 'event': value_json.data.event, 'time': value_json.time,"
    " 'started': value_json.data.started, 'score': value_json.data.top_score, 'model': value_json.modelid,"
    " 'labels': value_json.data.predictions | default([]) | map(attribute='label') | unique | list,"
    " 'zones': (value_json.data.after | default({})).zones | default([])} | to_json }}"
)


def make_slug(name: str) -> str:
    """A name of letters, digits, `_` and `-`; a digest keeps names apart that differ only in other characters."""
    slug = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return slug if slug == name else f"{slug}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def make_device_id(device: str, camera: str) -> str:
    """The identifier of a camera, the same for ever: Home Assistant keeps names, rooms and history by it."""
    digest = hashlib.sha256(f"{device}/{camera}".encode()).hexdigest()[:6]
    return f"vedette_{make_slug(device)}_{make_slug(camera)}_{digest}"


def make_sensors(topics: Topics, camera: str) -> dict[str, dict[str, Any]]:
    """The entities that every camera has, by component."""
    stats = topics.stats(camera)

    def sensor(name: str, key: str, **more: Any) -> dict[str, Any]:
        template = f"{{{{ value_json.{key} }}}}"
        return {"p": "sensor", "name": name, "stat_t": stats, "val_tpl": template, "ent_cat": "diagnostic", **more}

    number = {"stat_cla": "measurement"}
    return {
        "problem": {
            "p": "binary_sensor",
            "name": "Problem",
            "dev_cla": "problem",
            "ent_cat": "diagnostic",
            "stat_t": topics.state(camera),
            "val_tpl": "{{ 'ON' if value_json.faults else 'OFF' }}",
            "json_attr_t": topics.state(camera),
            "json_attr_tpl": "{{ {'faults': value_json.faults} | to_json }}",
        },
        "frames_per_second": sensor("Frames per second", "frames_per_second", unit_of_meas="fps", sug_dsp_prc=1)
        | number,
        "temperature": sensor("Temperature", "temperature", dev_cla="temperature", unit_of_meas="°C") | number,
        "backlog": sensor("Events waiting", "backlog") | number,
        "top_score": sensor("Top score", "top_score", sug_dsp_prc=3) | number,
        "model": sensor("Model", "model"),
    }


def make_rule_entities(topics: Topics, camera: str, rules: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The entities of the rules, by component: whether an event is open, and the events themselves."""
    entities: dict[str, dict[str, Any]] = {}
    for rule in rules:
        entities[f"rule_{make_slug(rule)}"] = {
            "p": "binary_sensor",
            "name": f"{rule} open",
            "stat_t": topics.state(camera),
            "val_tpl": f"{{{{ 'ON' if '{rule}' in value_json.open else 'OFF' }}}}",
        }
        entities[f"event_{make_slug(rule)}"] = {
            "p": "event",
            "name": rule,
            "stat_t": topics.event(camera, rule),
            "evt_typ": list(EVENT_TYPES),
            "val_tpl": _EVENT_TEMPLATE,
        }
    return entities


def make_picture_entity(topic: str, media_type: str) -> dict[str, dict[str, Any]]:
    """The picture of the last event, by component."""
    return {"picture": {"p": "image", "name": "Last event", "img_t": topic, "cont_type": media_type}}


def make_discovery(
    topics: Topics, device: str, camera: str, model: str, entities: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The discovery message.

    Args:
        topics: topics of the device
        device: name of the device
        camera: name of the camera
        model: name of the model's product
        entities: by component; one with nothing but its platform is removed from Home Assistant
    """
    identifier, version = make_device_id(device, camera), installed_version()
    components = {
        key: {**entity, "uniq_id": f"{identifier}_{key}"} if len(entity) > 1 else entity
        for key, entity in entities.items()
    }
    return {
        "dev": {
            "ids": [identifier],
            "name": f"{device} {camera}",
            "mf": "Vedette",
            "mdl": model,
            "sw": version,
        },
        "o": {"name": "Vedette", "sw": version},
        "avty": [
            {
                "t": topics.availability(camera),
                "val_tpl": "{{ 'online' if value == 'online' else 'offline' }}",
            }
        ],
        "cmps": components,
        "qos": 1,
    }
