"""Home Assistant: each camera is found over MQTT as a device with entities (docs/integrations.md).

The retained discovery message is published at each connection, when the rules change, and when Home Assistant tells
that it has started. Components that it had before and has no more, for example of a removed rule, are told to go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ..atomic_file import write_atomically
from ..errors import UNREADABLE, ConfigProblem
from ..events.commands import CommandLimit
from ..events.sinks import Command, Message
from ..monitoring.status import DaemonState, StatusReport
from . import Integration, IntegrationContext, PublishedEvent
from .home_assistant_entities import (
    make_device_id,
    make_discovery,
    make_picture_entity,
    make_rule_entities,
    make_sensors,
)
from .thumbnails import MEDIA_TYPES, read_thumbnail

MEMORY_NAME = "home_assistant.json"
_HINT = "Home Assistant may keep entities of rules that are gone"


class HomeAssistant(Integration):
    """The integration for Home Assistant."""

    def __init__(self, context: IntegrationContext) -> None:
        self.context = context
        settings, camera = context.get_settings(), context.camera
        table = settings.integrations.home_assistant
        if settings.broker.batch.seconds:
            hint = "take out [broker.batch], or leave discovery_prefix empty"
            raise ConfigProblem("home_assistant: its event entities cannot read events in batches", hint=hint)
        self.prefix, self.device = table.discovery_prefix, settings.device.name
        self.topic = f"{self.prefix}/device/{make_device_id(self.device, camera)}/config"
        self.media_type = MEDIA_TYPES.get(settings.evidence.thumbnail, "") if table.pictures else ""
        self.picture_topic = context.topics.thumbnail(camera)
        self.subscriptions = (f"{self.prefix}/status",)
        self.limit = CommandLimit(1)
        self.memory = settings.state_folder / MEMORY_NAME
        self.known = self._read_memory()
        """Platform by component, of the components that were published."""
        self.gone: dict[str, dict[str, Any]] = {}
        """Removed components: told again at each connection until the next start, for a connection may be lost."""
        self.rules: tuple[str, ...] = ()

    def messages_on_connect(self) -> Iterable[Message]:
        return self._announce()

    def messages_for_state(self, state: DaemonState) -> Iterable[Message]:
        return self._announce_changes()

    def messages_for_report(self, report: StatusReport) -> Iterable[Message]:
        return self._announce_changes()

    def messages_for_command(self, command: Command) -> Iterable[Message]:
        if command.payload != b"online" or command.retained or not self.limit.take():
            return ()
        return self._announce()

    def messages_for_event(self, event: PublishedEvent) -> Iterable[Message]:
        if not self.media_type:
            return ()
        picture = read_thumbnail(self.context.get_settings(), event.message.data.evidence)
        if picture is None:
            return ()
        return (Message(self.picture_topic, picture, retain=True, content_type=self.media_type),)

    def _announce_changes(self) -> Iterable[Message]:
        return self._announce() if tuple(self.context.rules()) != self.rules else ()

    def _announce(self) -> list[Message]:
        """The discovery message, after one that removes what is gone."""
        topics, camera = self.context.topics, self.context.camera
        self.rules = tuple(self.context.rules())
        entities = make_sensors(topics, camera) | make_rule_entities(topics, camera, self.rules)
        if self.media_type:
            entities |= make_picture_entity(self.picture_topic, self.media_type)
        self.gone |= {key: {"p": platform} for key, platform in self.known.items()}
        gone = self.gone = {key: entity for key, entity in self.gone.items() if key not in entities}
        known = {key: str(entity["p"]) for key, entity in entities.items()}
        if known != self.known:
            write_atomically(self.memory, msgspec.json.encode(known), _HINT, private=True)
            self.known = known
        messages = [self._make_message(entities)]
        return [self._make_message(entities | gone), *messages] if gone else messages

    def _make_message(self, entities: dict[str, dict[str, Any]]) -> Message:
        name = self.context.manifest.name
        discovery = make_discovery(self.context.topics, self.device, self.context.camera, name, entities)
        return Message(self.topic, msgspec.json.encode(discovery), retain=True, content_type="application/json")

    def _read_memory(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self.memory.read_bytes(), type=dict[str, str])
        except (OSError, *UNREADABLE):
            return {}
