"""Something worth sending, and how it is written: CloudEvents 1.0, structured JSON (docs/events.md).

A rule makes an event; the outbox gives it its place in the sequence. The identifier is a UUIDv7 (RFC 9562), unique but
never used for order: a clock that is set back would break that. Order and gaps are told by `sequence` within `epoch`.
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
PRIORITY = 5  # of 0…9; what is lower gives way first where the outbox is full
ALARM = 9  # of what the daemon says of itself


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the outbox notes on whatever it stores."""

    priority: int = PRIORITY
    timequality: TimeQuality = "unknown"
    """Whether the clock was known to be synchronised."""
    boot: str = ""
    """The boot in which it was recorded."""
    boottime: float = 0.0
    """`taken` as seconds since that boot."""


class Exhibit(msgspec.Struct, frozen=True):
    """What proves an event: a picture or a clip, kept or uploaded."""

    sha256: str
    """Of the file, hexadecimal."""
    bytes: int
    type: str
    """As `image/jpeg`."""
    link: str
    """Where it lies, or will once it is uploaded."""


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an event is about, as it was in one frame; what a rule does not tell is left out."""

    label: str = ""
    score: float = 0.0
    box: Box | None = None
    seconds: float = 0.0
    """How long it had lasted by then."""
    zones: tuple[str, ...] = ()
    """Those it is in."""
    entered_zones: tuple[str, ...] = ()
    """Those it has been in so far, in that order."""
    counts: dict[str, int] = {}
    """How many things are in each zone, or have crossed in each direction since the daemon's start."""
    direction: str | None = None
    """`left` or `right`: where it went, seen along the line."""
    speed: float | None = None
    top_speed: float | None = None
    """In the rule's unit."""


class Event(Record, frozen=True, omit_defaults=True, tag="event"):
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
    track: int | None = None
    """The tracker's number of the thing it is about."""
    before: State | None = None
    """As the message before told it."""
    after: State | None = None
    """As this one tells it."""
    evidence: Exhibit | None = None


class Notice(Record, frozen=True, tag="notice"):
    """What the daemon says of itself: events that had to give way, a store that was mended, a broker's refusal."""

    id: str
    camera: str
    rule: str
    """Of whom it speaks, where a rule's name would be: `outbox`, `broker`."""
    kind: str
    """What happened, as `evicted`."""
    taken: float
    """When, seconds since 1970, UTC."""
    facts: dict[str, Any] = {}


def notice(camera: str, rule: str, kind: str, facts: Mapping[str, Any], clock: Clock) -> Notice:
    """One of now."""
    return Notice(new_id(), camera, rule, kind, clock.wall(), dict(facts), priority=ALARM)


def stamped(record: Event | Notice, clock: Clock) -> Event | Notice:
    """The same with what the clock says while it is recorded."""
    return msgspec.structs.replace(
        record, timequality=clock.quality(), boot=clock.boot, boottime=record.taken - clock.booted()
    )


def correction(record: Event | Notice, clock: Clock) -> float:
    """Seconds by which its times are wrong, now that the clock is right; 0 where they were right or nobody can tell."""
    if record.timequality == "synced" or clock.quality() != "synced" or not clock.boot or record.boot != clock.boot:
        return 0.0
    return record.boottime + clock.booted() - record.taken


class _Data(msgspec.Struct, omit_defaults=True):
    event: str
    kind: Kind
    frame: int
    started: str
    top_score: float
    predictions: tuple[Prediction, ...] = ()
    track: int | None = None
    before: State | None = None
    after: State | None = None
    evidence: Exhibit | None = None


def cloud_event(record: Event | Notice, source: str, sequence: int, epoch: str, clock: Clock) -> bytes:
    """The JSON that goes over the wire.

    Args:
        record: what is told
        source: `/site/area/line/device`, which with `id` is unique in the world
        sequence: place in the outbox, counting from 1 without gaps within `epoch`
        epoch: identifies the outbox that counted
        clock: puts times right that were taken before it was
    """
    late = correction(record, clock)
    envelope = {
        "specversion": "1.0",
        "id": record.id,
        "source": f"{source}/{record.camera}",
        "type": f"vedette.{record.rule}.{record.kind}",
        "time": rfc3339(record.taken + late),
        "sequence": f"{sequence:012d}",
        "epoch": epoch,
        "timequality": "synced" if late else record.timequality,
    }
    if record.boot:
        envelope |= {"bootid": record.boot, "boottime": f"{record.boottime:.3f}"}
    if late:
        envelope["recordedtime"] = rfc3339(record.taken)
    if isinstance(record, Notice):
        return msgspec.json.encode(envelope | {"data": record.facts})
    data = _Data(
        event=record.event,
        kind=record.kind,
        frame=record.frame,
        started=rfc3339(record.started + late),
        top_score=round(record.top_score, 4),
        predictions=record.predictions,
        track=record.track,
        before=record.before,
        after=record.after,
        evidence=record.evidence,
    )
    return msgspec.json.encode(envelope | {"modelid": record.model, "data": data})


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
