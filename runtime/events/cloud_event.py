"""CloudEvents 1.0 in structured JSON: how events are published (docs/events.md).

The JSON Schemas in docs/schemas are made from these types.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from ..clock import Clock, TimeQuality
from ..inference.prediction import Prediction
from .event import (
    Attachment,
    Event,
    EventReason,
    Kind,
    SubjectState,
    SystemEvent,
    clock_correction,
    cloud_event_type,
    format_rfc3339,
)

CLOUD_EVENTS_TYPE = "application/cloudevents+json"
_Data = TypeVar("_Data")


class EventData(msgspec.Struct, frozen=True, omit_defaults=True):
    """`data` of an event that a rule detected."""

    event: str
    """`id` of the `new` message that opened the event."""
    kind: Kind
    frame: int
    """Number of the frame, from 0 at each start."""
    started: str
    """When the event began, RFC 3339."""
    top_score: float
    """Highest score so far."""
    predictions: tuple[Prediction, ...] = ()
    track: int | None = None
    before: SubjectState | None = None
    after: SubjectState | None = None
    evidence: Attachment | None = None
    reason: EventReason | None = None
    """What the rule measured, and its limit; absent in an `end`, and if the rule has no limit."""


class CloudEvent(msgspec.Struct, Generic[_Data], frozen=True, kw_only=True, omit_defaults=True):
    """A CloudEvent 1.0 in structured JSON, as a device publishes it (docs/events.md)."""

    specversion: Literal["1.0"]
    id: str
    """UUIDv7 of the message; unique together with `source`."""
    source: str
    """`/SITE/AREA/LINE/DEVICE/CAMERA`."""
    type: str
    """`vedette.RULE.KIND`."""
    time: str
    """When the frame was taken, RFC 3339."""
    sequence: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{12,}$")]
    """Position in the outbox, from 1 without gaps within `epoch`."""
    epoch: str
    timequality: TimeQuality
    bootid: str | msgspec.UnsetType = msgspec.UNSET
    boottime: Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]+\.[0-9]{3}$")] | msgspec.UnsetType = msgspec.UNSET
    """`time`, in seconds since that boot."""
    recordedtime: str | msgspec.UnsetType = msgspec.UNSET
    """The clock's value when the event was recorded, if `time` was corrected."""
    modelid: str | msgspec.UnsetType = msgspec.UNSET
    """Name, release and digest of the model; absent in events about the device itself."""
    data: _Data


def encode_cloud_event(record: Event | SystemEvent, source: str, sequence: int, epoch: str, clock: Clock) -> bytes:
    """Encodes a record as a CloudEvent in structured JSON.

    Args:
        record: the event
        source: `/site/area/line/device`; globally unique together with `id`
        sequence: sequence number in the outbox, from 1 without gaps within `epoch`
        epoch: identifies the outbox file
        clock: corrects times from before the clock was synchronized
    """
    correction = clock_correction(record, clock)
    message = CloudEvent[EventData | dict[str, Any]](
        specversion="1.0",
        id=record.id,
        source=f"{source}/{record.camera}",
        type=cloud_event_type(record),
        time=format_rfc3339(record.taken + correction),
        sequence=f"{sequence:012d}",
        epoch=epoch,
        timequality="synced" if correction else record.timequality,
        bootid=record.boot or msgspec.UNSET,
        boottime=f"{record.boottime:.3f}" if record.boot else msgspec.UNSET,
        recordedtime=format_rfc3339(record.taken) if correction else msgspec.UNSET,
        modelid=record.model if isinstance(record, Event) else msgspec.UNSET,
        data=_event_data(record, correction) if isinstance(record, Event) else record.facts,
    )
    return msgspec.json.encode(message)


def _event_data(event: Event, correction: float) -> EventData:
    return EventData(
        event=event.event,
        kind=event.kind,
        frame=event.frame,
        started=format_rfc3339(event.started + correction),
        top_score=round(event.top_score, 4),
        predictions=event.predictions,
        track=event.track,
        before=event.before,
        after=event.after,
        evidence=event.evidence,
        reason=event.reason,
    )
