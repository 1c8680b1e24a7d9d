"""Events as ONVIF cameras publish them over MQTT: JSON below `onvif-ej`, for video management systems of Profile M.

Property events are retained and say what holds now; they are sent again after each connection. The others say that
something happened. Only what is published is like ONVIF: no web service configures it (docs/integrations.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from ..events.event import format_rfc3339
from ..events.sinks import Message
from ..monitoring.status import StatusReport
from . import Integration, IntegrationContext, PublishedEvent, PublishedSystemEvent
from .onvif_mapping import (
    ANALYTICS_CONFIGURATION,
    COUNTER_TOPIC,
    FAULT_TOPICS,
    INSTANT_RULES,
    RULE_TOPICS,
    Item,
    Items,
    OpenObject,
    RuleTopic,
    describe_object,
    make_object_items,
    make_payload,
    make_topic,
)

MAX_OPEN = 1000  # open events of a rule that are remembered


class Onvif(Integration):
    """The integration for programs that read events of ONVIF cameras. It remembers what is open, in memory only."""

    def __init__(self, context: IntegrationContext) -> None:
        settings = context.get_settings()
        self.context, self.camera = context, settings.camera
        self.prefix = settings.integrations.onvif.topic_prefix or context.topics.root
        self.open: dict[str, dict[str, OpenObject]] = {}
        """By rule and id of the event."""
        self.counts: dict[str, int] = {}
        """Crossings of a rule since the start."""
        self.faults: set[str] = set()

    def messages_on_connect(self) -> Iterable[Message]:
        now = format_rfc3339(time.time())
        yield from (self._fault_message(fault, now) for fault in FAULT_TOPICS)
        for rule, use in self.context.rules().items():
            if RULE_TOPICS[use].is_property:
                yield self._property_message(rule, RULE_TOPICS[use], now)
            elif use == "crossing":
                yield self._counter_message(rule, now)

    def messages_for_event(self, event: PublishedEvent) -> Iterable[Message]:
        rule, data, now = event.rule, event.message.data, event.message.time
        use = self.context.rules().get(rule)
        if use is None:  # it waited in the outbox since before a reload
            return
        topic, objects = RULE_TOPICS[use], self.open.setdefault(rule, {})
        subject = describe_object(data)
        if use in INSTANT_RULES:
            if data.kind == "new":
                yield self._message(topic.topic, self._rule_source(rule), make_object_items([subject]), now)
                if use == "crossing":
                    self.counts[rule] = self._count_crossings(rule, event)
                    yield self._counter_message(rule, now)
            return
        if data.kind == "end":
            objects.pop(data.event, None)
        elif data.event in objects or len(objects) < MAX_OPEN:
            objects[data.event] = subject
        more: dict[str, Item] = {}
        if data.after is not None and data.after.counts:
            more["vedette:Count"] = sum(data.after.counts.values())
        if data.after is not None and data.after.speed is not None:
            more["vedette:Speed"] = data.after.speed
        if topic.is_property:
            yield self._property_message(rule, topic, now, more)
        else:
            yield self._message(topic.topic, self._rule_source(rule), make_object_items(objects.values()), now)

    def messages_for_system_event(self, event: PublishedSystemEvent) -> Iterable[Message]:
        if event.rule != "camera":
            return
        fault = str(event.message.data.get("from", "")) if event.kind == "recovered" else event.kind
        if fault in FAULT_TOPICS:
            (self.faults.discard if event.kind == "recovered" else self.faults.add)(fault)
            yield self._fault_message(fault, event.message.time)

    def messages_for_report(self, report: StatusReport) -> Iterable[Message]:
        """Ends what is open of rules whose last messages the broker refused, or that the outbox dropped."""
        if report.backlog:
            return
        rules, now = self.context.rules(), format_rfc3339(time.time())
        for rule, objects in self.open.items():
            if objects and rule not in report.open:
                objects.clear()
                if rule in rules and RULE_TOPICS[rules[rule]].is_property:
                    yield self._property_message(rule, RULE_TOPICS[rules[rule]], now)

    def _count_crossings(self, rule: str, event: PublishedEvent) -> int:
        """The crossings of a rule so far, to the side that counts."""
        counts = event.message.data.after.counts if event.message.data.after is not None else {}
        tables = self.context.get_settings().rules
        table = next(each for each in tables if each.get("name", each["use"]) == rule)
        side = table.get("direction", "both")
        return sum(count for direction, count in counts.items() if side in ("both", direction))

    def _rule_source(self, rule: str) -> Items:
        return {"VideoSource": self.camera, "AnalyticsConfiguration": ANALYTICS_CONFIGURATION, "Rule": rule}

    def _property_message(self, rule: str, topic: RuleTopic, now: str, more: Items | None = None) -> Message:
        objects = list(self.open.get(rule, {}).values())
        source = self._rule_source(rule)
        if not topic.state and not objects:  # deleted
            return Message(make_topic(self.prefix, topic.topic, source), b"", retain=True)
        state = {topic.state: bool(objects)} if topic.state else {"Since": min(each.started for each in objects)}
        return self._message(topic.topic, source, {**make_object_items(objects), **state, **(more or {})}, now, True)

    def _counter_message(self, rule: str, now: str) -> Message:
        return self._message(COUNTER_TOPIC, self._rule_source(rule), {"Count": self.counts.get(rule, 0)}, now, True)

    def _fault_message(self, fault: str, now: str) -> Message:
        source = {"Source": self.camera}
        return self._message(FAULT_TOPICS[fault], source, {"State": fault in self.faults}, now, True)

    def _message(self, topic: str, source: Items, data: Items, now: str, retain: bool = False) -> Message:
        payload = make_payload(now, source, data)
        return Message(make_topic(self.prefix, topic, source), payload, retain, "application/json")
