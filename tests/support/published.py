"""What a daemon publishes, and a context for the integrations that read it; made up, without a bundle or a broker."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from vedette.runtime.bundle.manifest import Manifest, ModelInput
from vedette.runtime.clock import Clock
from vedette.runtime.config.configuration import load_config
from vedette.runtime.events.cloud_event import CloudEvent, EventData, encode_cloud_event
from vedette.runtime.events.event import Event, SystemEvent, make_system_event, new_event_id
from vedette.runtime.events.sinks import Acknowledgement, Command, Message
from vedette.runtime.events.topics import Topics
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.integrations import IntegrationContext, PublishedEvent
from vedette.runtime.monitoring.status import StatusReport

EPOCH = "5eed5eed"
PERSON = Prediction("person", 0.75, Box(0.25, 0.5, 0.5, 1.0))


def make_manifest(task: str = "detect", threshold: float = 0.5) -> Manifest:
    tables: dict[str, Any] = {"goal": {}, "measured": {}, "tools": {}, "files": {}, "models": {}}
    lists: dict[str, Any] = dict.fromkeys(("outputs", "missed", "unproven", "weights", "data"), ())
    spec = ModelInput("image", 8, 8, 0.0, 1.0, 1.0, 0)
    return Manifest(
        format=1,
        name="cells",
        release=3,
        task=task,
        labels=("person",),
        input=spec,
        threshold=threshold,
        goal_met=True,
        device="pi4",
        signer="k",
        **tables,
        **lists,
    )


def make_context(
    folder: Path,
    tables: str,
    camera: str = "",
    rules: str = '[[rules]]\nuse = "presence"\n',
    manifest: Manifest | None = None,
    name: str = "door",
) -> IntegrationContext:
    """A context that reads its configuration, written into `folder`, again each time.

    Args:
        folder: gets the configuration and the state
        tables: of vedette.toml, beside `[device]`
        camera: keys and tables of the camera's file before its rules
        rules: `[[rules]]` tables
        manifest: of the bundle; None: that of an object detector
        name: of the camera
    """
    (folder / "cameras").mkdir(exist_ok=True)
    device = '[device]\nname = "box"\nsite = "plant"\narea = "hall"\nline = "line1"\nstate = "state"\n'
    (folder / "vedette.toml").write_text(device + tables)
    text = f'source = "file:parts"\nbundle = "cells.vedette"\n{camera}\n{rules}'
    (folder / "cameras" / f"{name}.toml").write_text(text)
    topics = Topics.from_config(load_config(folder, name))
    return IntegrationContext(lambda: load_config(folder, name), manifest or make_manifest(), topics)


def make_event(kind: str = "new", number: int = 0, first: Event | None = None, **fields: Any) -> Event:
    """An event of the rule `presence` at second 1,000,000,000 + `number`; the first of its event, or a later one."""
    identifier = new_event_id()
    taken = 1e9 + number
    values: dict[str, Any] = {"predictions": (PERSON,), "top_score": 0.75, "model": "cells:3:0f9c2ab1"}
    return Event(
        id=identifier,
        event=first.event if first is not None else identifier,
        camera="door",
        rule="presence",
        kind=kind,
        taken=taken,
        frame=number,
        started=first.started if first is not None else taken,
        **values | fields,
    )


def make_message(event: Event | SystemEvent, topics: Topics, sequence: int = 1) -> Message:
    """An event as the forwarder sends it."""
    payload = encode_cloud_event(event, topics.source, sequence, EPOCH, Clock())
    return Message(topics.event(event.camera, event.rule), payload, sequence=sequence)


def publish(event: Event, topics: Topics) -> PublishedEvent:
    """An event as integrations get it."""
    message = make_message(event, topics)
    decoded = msgspec.json.decode(message.payload, type=CloudEvent[EventData])
    return PublishedEvent(event.camera, event.rule, message.topic, decoded, message.payload)


def make_fault() -> SystemEvent:
    return make_system_event("door", "camera", "dark", {"seconds": 10.0}, Clock())


def make_report(**fields: Any) -> StatusReport:
    values: dict[str, Any] = {
        "camera": "door",
        "model": "cells:3:0f9c2ab1",
        "backend": "onnx",
        "uptime_seconds": 120.5,
        "frames": 1000,
        "frames_per_second": 5.0,
        "latency_ms": {"p50": 20.0},
        "events": 3,
        "backlog": 0,
        "dead": 0,
        "connected": True,
        "last_event": None,
        "open": [],
        "faults": [],
        "memory_mb": 80.0,
        "memory_mb_per_hour": None,
        "temperature": 51.5,
        "throttled": None,
        "inferences": 750,
        "skipped": 250,
        "duty": 0.15,
    }
    return StatusReport(**values | fields)


class RecordingSink:
    """A sink that keeps what it is given, and whose next `wait` returns or raises what a test puts into it."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.received: list[Acknowledgement | Command] = []
        self.error: ConnectionError | None = None
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def wait(self, seconds: float) -> list[Acknowledgement | Command]:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        received, self.received = self.received, []
        if not received:
            time.sleep(seconds)
        return received

    def wake(self) -> None:
        pass

    def close(self) -> None:
        self.is_open = False

    def take(self) -> list[Message]:
        """What was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent
