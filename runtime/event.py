"""Something worth sending, and how it is written: CloudEvents 1.0, structured JSON (docs/events.md).

A rule makes an event; the outbox gives it its place in the sequence. The identifier is a UUIDv7 (RFC 9562), unique but
never used for order: a clock that is set back would break that. Order and gaps are told by `sequence` within `epoch`.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec

from .prediction import Prediction

Kind = Literal["new", "update", "end"]
TimeQuality = Literal["synced", "unknown"]


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag="event"):
    """A change that a rule noticed, as stored in the outbox."""

    id: str
    """UUIDv7 of this message."""
    event: str
    """The `id` of the `new` that this message belongs to: the same for new, update and end."""
    camera: str
    rule: str
    kind: Kind
    taken: float
    """`Frame.taken` of the frame that decided it, seconds since 1970, UTC."""
    frame: int
    """`Frame.number` of that frame."""
    started: float
    """`Frame.taken` where the event began."""
    top_score: float
    """The highest score so far."""
    predictions: tuple[Prediction, ...] = ()
    model: str = ""
    """Name, release and digest of the bundle that saw it."""
    timequality: TimeQuality = "unknown"
    """Whether the clock was known to be synchronised."""


class Tombstone(msgspec.Struct, frozen=True, tag="tombstone"):
    """Stands in the sequence for events that had to go because the outbox was full."""

    id: str
    camera: str
    taken: float
    """When they went, seconds since 1970, UTC."""
    first: int
    """Lowest sequence number that went."""
    last: int
    """Highest sequence number that went."""
    count: int
    """How many went; the others between had been delivered."""

    rule = "outbox"
    kind = "evicted"


class _Data(msgspec.Struct, omit_defaults=True):
    event: str
    kind: Kind
    frame: int
    started: str
    top_score: float
    predictions: tuple[Prediction, ...] = ()


class _Evicted(msgspec.Struct):
    first: int
    last: int
    count: int


def cloud_event(event: Event | Tombstone, source: str, sequence: int, epoch: str) -> bytes:
    """The JSON that goes over the wire.

    Args:
        event: the event
        source: `/site/area/line/device`, which with `id` is unique in the world
        sequence: place in the outbox, counting from 1 without gaps within `epoch`
        epoch: identifies the outbox that counted
    """
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"{source}/{event.camera}",
        "type": f"vedette.{event.rule}.{event.kind}",
        "time": rfc3339(event.taken),
        "sequence": f"{sequence:012d}",
        "epoch": epoch,
    }
    if isinstance(event, Tombstone):
        return msgspec.json.encode(envelope | {"data": _Evicted(event.first, event.last, event.count)})
    data = _Data(
        event=event.event,
        kind=event.kind,
        frame=event.frame,
        started=rfc3339(event.started),
        top_score=round(event.top_score, 4),
        predictions=event.predictions,
    )
    return msgspec.json.encode(envelope | {"timequality": event.timequality, "modelid": event.model, "data": data})


def rfc3339(seconds: float) -> str:
    """Seconds since 1970 as in `2026-01-31T23:59:59.123Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_last = 0  # milliseconds and 74 random bits of the last id


def new_id() -> str:
    """A UUIDv7: milliseconds, then random bits; later calls of one process always sort after earlier ones."""
    global _last  # noqa: PLW0603  # the guard that keeps ids rising when the clock does not
    _last = max(time.time_ns() // 1_000_000 << 74 | secrets.randbits(74), _last + 1)
    number = _last >> 74 << 80 | 0x7 << 76 | (_last >> 62 & 0xFFF) << 64 | 0b10 << 62 | _last & (1 << 62) - 1
    return str(UUID(int=number))
