"""Events, as rules make them and the outbox stores them.

A rule makes an event; the outbox assigns its sequence number. The identifier is a UUIDv7 (RFC 9562). It is unique, but
gives no order, because the clock may be set back. `sequence` within `epoch` gives the order and shows gaps.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from ..clock import Clock, TimeQuality
from ..inference.prediction import Box, Prediction

Kind = Literal["new", "update", "end"]
Quantity = Literal["score", "seconds", "objects", "speed"]
"""`score`: in the model's unit; `seconds`: since the event began; `objects`: number of objects; `speed`: in `unit`."""
DEFAULT_PRIORITY = 5  # 0…9; a full outbox evicts events of lower priority first
SYSTEM_PRIORITY = 9  # of events about the device itself


class OutboxFields(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Fields that the outbox adds to every record."""

    priority: int = DEFAULT_PRIORITY
    timequality: TimeQuality = "unknown"
    """Whether the clock was known to be synchronized when the record was stored."""
    boot: str = ""
    """Boot ID of the boot in which the record was stored."""
    boottime: float = 0.0
    """`taken`, in seconds since that boot."""


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True):
    """Evidence of an event: an image or a clip, stored on the device or uploaded."""

    sha256: str
    """SHA-256 of the file, hexadecimal."""
    bytes: int
    type: str
    """Media type, for example `image/jpeg`."""
    link: str
    """URL of the file; an upload may still be pending."""
    whole: bool = False
    """An image that shows the whole frame although the event has a box."""


class SubjectState(msgspec.Struct, frozen=True, omit_defaults=True):
    """State of the event's subject in one frame. Fields that the rule does not provide are left out."""

    label: str = ""
    score: float = 0.0
    box: Box | None = None
    seconds: float = 0.0
    """Seconds since the event began."""
    zones: tuple[str, ...] = ()
    """Zones that the object is in."""
    entered_zones: tuple[str, ...] = ()
    """Zones that the object has entered so far, in order."""
    counts: dict[str, int] = {}
    """Objects in each zone, or crossings in each direction since the start of the daemon."""
    direction: str | None = None
    """Side to which the object crossed the line, seen along the line: `left` or `right`."""
    speed: float | None = None
    """Speed, in the rule's unit."""
    top_speed: float | None = None
    """Highest speed so far, in the rule's unit."""


class EventReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a rule reports an event: what it measured, beside its limit."""

    quantity: Quantity
    """What the rule compares with its limit."""
    measured: float
    """The value in the frame of this message."""
    limit: float
    """The event began because the measured value was at least this."""
    unit: str = ""
    """Unit of both values; empty for scores and numbers of objects."""


class Event(OutboxFields, frozen=True, omit_defaults=True, tag="event"):
    """A message about an event that a rule detected: it begins, changes or ends. Stored in the outbox."""

    id: str
    """UUIDv7 of this message."""
    event: str
    """`id` of the `new` message; the same in `new`, `update` and `end`."""
    camera: str
    rule: str
    kind: Kind
    taken: float
    """`Frame.taken` of the frame that caused the message, seconds since 1970, UTC."""
    frame: int
    """`Frame.number` of that frame."""
    started: float
    """`Frame.taken` of the frame in which the event began."""
    top_score: float
    """Highest score so far."""
    predictions: tuple[Prediction, ...] = ()
    model: str = ""
    """`Manifest.model_id` of the bundle: name, release and digest."""
    track: int | None = None
    """Track number of the object."""
    before: SubjectState | None = None
    """State in the previous message of the event."""
    after: SubjectState | None = None
    """State in this message."""
    evidence: Attachment | None = None
    reason: EventReason | None = None
    """Of an event that is open after this message; None: it has ended, or the rule has no limit."""


class SystemEvent(OutboxFields, frozen=True, tag="notice"):
    """An event about the device itself: evicted events, a recovered outbox, an event that the broker refused."""

    id: str
    camera: str
    rule: str
    """The component, in place of a rule's name: `outbox`, `broker`."""
    kind: str
    """What happened, for example `evicted`."""
    taken: float
    """Time, seconds since 1970, UTC."""
    facts: dict[str, Any] = {}


def make_system_event(camera: str, rule: str, kind: str, facts: Mapping[str, Any], clock: Clock) -> SystemEvent:
    """Makes a system event with the present time."""
    return SystemEvent(new_event_id(), camera, rule, kind, clock.wall_time(), dict(facts), priority=SYSTEM_PRIORITY)


def stamp_time(record: Event | SystemEvent, clock: Clock) -> Event | SystemEvent:
    """Adds the time quality, the boot ID and the seconds since boot to a record."""
    return msgspec.structs.replace(
        record, timequality=clock.time_quality(), boot=clock.boot, boottime=record.taken - clock.boot_time()
    )


def clock_correction(record: Event | SystemEvent, clock: Clock) -> float:
    """Seconds to add to the times of a record that was stored before the clock was synchronized.

    The correction is 0 if the clock was synchronized then, is not synchronized now, or the record is from another boot.
    """
    if (
        record.timequality == "synced"
        or clock.time_quality() != "synced"
        or not clock.boot
        or record.boot != clock.boot
    ):
        return 0.0
    return record.boottime + clock.boot_time() - record.taken


def cloud_event_type(record: Event | SystemEvent) -> str:
    """The type of a record as a CloudEvent, for example `vedette.presence.new`."""
    return f"vedette.{record.rule}.{record.kind}"


def format_rfc3339(seconds: float) -> str:
    """Formats seconds since 1970, UTC, like `2026-01-31T23:59:59.123Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_last_id = 0  # milliseconds and 74 random bits of the last id


def new_event_id() -> str:
    """A UUIDv7: milliseconds, then random bits. Within a process the ids increase, even if the clock is set back."""
    global _last_id  # noqa: PLW0603  # keeps ids increasing if the clock is set back
    _last_id = max(time.time_ns() // 1_000_000 << 74 | secrets.randbits(74), _last_id + 1)
    number = _last_id >> 74 << 80 | 0x7 << 76 | (_last_id >> 62 & 0xFFF) << 64 | 0b10 << 62 | _last_id & (1 << 62) - 1
    return str(UUID(int=number))
