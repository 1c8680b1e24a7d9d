"""Topics and payloads as Frigate publishes them, for dashboards and cards made for it (docs/integrations.md)."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from ..config.configuration import camera_names
from ..distribution import installed_version
from ..events.sinks import Message
from ..monitoring.status import StatusReport
from . import Integration, IntegrationContext, PublishedEvent
from .frigate_mapping import (
    make_review,
    make_review_message,
    make_stats,
    make_topic_level,
    make_tracked_object,
)
from .frigate_messages import EventMessage, Review, TrackedObject
from .thumbnails import read_thumbnail

MAX_OPEN = 1000  # open events that are remembered


class Frigate(Integration):
    """The integration for programs that read Frigate's messages. It remembers open events, in memory only."""

    def __init__(self, context: IntegrationContext) -> None:
        self.context, settings = context, context.get_settings()
        self.table, self.camera = settings.integrations.frigate, settings.camera
        self.prefix = self.table.topic_prefix
        self.sends_pictures = self.table.snapshots and settings.evidence.thumbnail == "jpeg"
        self.objects: dict[str, TrackedObject] = {}
        """By the id of our event: open ones."""
        self.tracks: dict[str, str] = {}
        """What an open event counts as: its track, or itself."""
        self.review: Review | None = None
        self.review_objects: dict[str, TrackedObject] = {}
        self.first_event = ""
        """The event that began the review."""
        self.labels: set[str] = {"all"}
        """Labels that were counted since the start."""

    def messages_on_connect(self) -> Iterable[Message]:
        return [self._text("available", "online", retain=True), *self._count_messages(), *self._status(True)]

    def messages_on_stop(self) -> Iterable[Message]:
        settings = self.context.get_settings()
        others = camera_names(settings.camera_file.parent.parent) != [self.camera]
        return [*self._status(False), *([] if others else [self._text("available", "offline", retain=True)])]

    def messages_for_report(self, report: StatusReport) -> Iterable[Message]:
        now = time.time()
        stats = self._json("stats", make_stats(report, installed_version(), os.getpid(), now))
        lost = self._forget_open_events(now) if self.objects and not report.open and not report.backlog else []
        return [stats, *lost, *self._count_messages()]

    def messages_for_event(self, event: PublishedEvent) -> Iterable[Message]:
        data = event.message.data
        after = make_tracked_object(event, self.context.manifest, self.table)
        before = self.objects.get(data.event, msgspec.structs.replace(after, end_time=None, active=True))
        if before.has_snapshot and not after.has_snapshot:
            after = msgspec.structs.replace(after, has_snapshot=True, snapshot=before.snapshot)
        messages = [self._json("events", EventMessage(data.kind, before, after))]
        if data.kind == "end":
            self.objects.pop(data.event, None)
            self.tracks.pop(data.event, None)
        elif len(self.objects) < MAX_OPEN or data.event in self.objects:
            self.objects[data.event] = after
            self.tracks[data.event] = data.event if data.track is None else f"track {data.track}"
        self.labels.add(after.label)
        messages += self._review_messages(data.event, after)
        messages += self._count_messages()
        picture = read_thumbnail(self.context.get_settings(), data.evidence) if self.sends_pictures else None
        if picture is not None:
            topic = f"{self.prefix}/{self.camera}/{make_topic_level(after.label)}/snapshot"
            messages.append(Message(topic, picture, retain=True, content_type="image/jpeg"))
        return messages

    def _review_messages(self, event: str, changed: TrackedObject) -> list[Message]:
        """The message about the review item, if the event changed it."""
        if self.review is None and changed.end_time is not None:  # its beginning was not seen
            return []
        if self.review is None:
            self.first_event, self.review_objects = event, {}
        if event in self.review_objects or len(self.review_objects) < MAX_OPEN:
            self.review_objects[event] = changed
        objects = list(self.review_objects.values())
        end = None if self.objects else changed.end_time
        start = self.review.start_time if self.review is not None else changed.start_time
        after = make_review(self.first_event, objects, start, end)
        message = make_review_message(self.review, after)
        self.review = after if end is None else None
        status = "NONE" if self.review is None else "ALERT"
        if message is None:
            return []
        return [self._json("reviews", message), self._text(f"{self.camera}/review_status", status, retain=True)]

    def _count_messages(self) -> list[Message]:
        """The number of objects of each label that was seen since the start."""
        pairs = {(each.label, self.tracks[event]) for event, each in self.objects.items()}
        counts = Counter(label for label, _ in pairs)
        counts["all"] = len({track for _, track in pairs})
        return [
            self._text(f"{self.camera}/{make_topic_level(label)}{part}", str(counts[label]))
            for label in sorted(self.labels)
            for part in ("", "/active")
        ]

    def _forget_open_events(self, now: float) -> list[Message]:
        """Ends the review item of events whose end the broker refused, or that the outbox dropped."""
        last = list(self.objects.items())[-1]
        self.objects, self.tracks = {}, {}
        return self._review_messages(last[0], msgspec.structs.replace(last[1], end_time=now, active=False))

    def _status(self, is_online: bool) -> list[Message]:
        return [self._text(f"{self.camera}/status/detect", "online" if is_online else "offline", retain=True)]

    def _text(self, topic: str, text: str, retain: bool = False) -> Message:
        return Message(f"{self.prefix}/{topic}", text.encode(), retain)

    def _json(self, topic: str, body: Any) -> Message:
        return Message(f"{self.prefix}/{topic}", msgspec.json.encode(body), content_type="application/json")
