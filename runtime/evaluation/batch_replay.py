"""The messages in which the events of a recording would be published, batch by batch, by the times of the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ..config.batch_table import BatchSettings
from ..events.batch_collector import BatchCollector
from ..events.event import DEFAULT_PRIORITY, SYSTEM_PRIORITY, SystemEvent
from ..events.outbox import SequencedEvent
from ..events.sinks import Message


class _Envelope(msgspec.Struct):
    time: datetime
    type: str


def pack_events(
    messages: Sequence[Message], settings: BatchSettings, topic: str, priorities: Mapping[str, int]
) -> list[Message]:
    """The messages that a daemon would have sent.

    An `end` is dated to the last frame in which the object was seen, so it counts as sent with the event before it.

    Args:
        messages: events in their order, each as a message of its own
        settings: `[broker.batch]`
        topic: of batches
        priorities: of the rules, by the last level of the topic; other events are about the device
    """
    collector, now = BatchCollector(settings, topic), float("-inf")
    packed = []
    for number, message in enumerate(messages, 1):
        envelope = msgspec.json.decode(message.payload, type=_Envelope)
        now = max(now, envelope.time.timestamp())
        packed += collector.take_due(now)
        priority = priorities.get(message.topic.rsplit("/", 1)[-1], SYSTEM_PRIORITY)
        event = SystemEvent("", "", "", envelope.type, now, priority=priority)
        packed += collector.add(SequencedEvent(number, event), message, now)
    return [each.message for each in packed + collector.take()]


def read_priorities(rules: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The priorities of rules by their names, from their tables."""
    return {table.get("name") or table["use"]: table.get("priority", DEFAULT_PRIORITY) for table in rules}
