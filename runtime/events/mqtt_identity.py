"""MQTT identity of the daemon: client ID, availability messages, last will, and the retained `info` message."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..bundle.manifest import Manifest
from ..config.configuration import Config
from ..distribution import installed_version
from . import sinks
from .topics import Topics


class CameraInfo(msgspec.Struct, frozen=True):
    """Payload of the retained MQTT topic `info`."""

    camera: str
    device: str
    model: str
    """Name, release and digest of the model."""
    task: str
    backend: str
    """Name and version of the inference library."""
    runtime: str
    """Version of Vedette."""
    schema: Literal["v1"] = "v1"
    """Version of the topics and messages."""


def client_id(settings: Config) -> str:
    """The MQTT client name of a camera's daemon."""
    return f"vedette-{settings.device.name}-{settings.camera}"


def make_mqtt_session_settings(
    settings: Config, manifest: Manifest, backend: str, topics: Topics
) -> sinks.MqttSessionSettings:
    """Makes the MQTT identity of one camera's daemon.

    Args:
        settings: configuration of the camera
        manifest: manifest of its bundle
        backend: name and version of the inference library
        topics: topics of the device
    """
    camera = settings.camera
    info = CameraInfo(
        camera, settings.device.name, manifest.model_id, manifest.task, backend, runtime=installed_version()
    )
    availability = {
        name: sinks.Message(topics.availability(camera), name.encode(), retain=True)
        for name in ("online", "offline", "stopped")
    }
    info_message = sinks.Message(topics.info(camera), msgspec.json.encode(info), True, content_type="application/json")
    return sinks.MqttSessionSettings(
        client_id=client_id(settings),
        birth_messages=(availability["online"], info_message),
        last_will=availability["offline"],
        stop_message=availability["stopped"],
        command_topic=topics.command("+"),
    )
