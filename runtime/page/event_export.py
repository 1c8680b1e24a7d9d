"""Events as CSV or JSON, with what people said about them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO

import msgspec

from ..events.event import format_rfc3339
from .event_records import EventRecord

MAX_EVENTS = 5000
"""Of each camera in one export."""


class ExportedEvent(msgspec.Struct, frozen=True):
    """One line of an export."""

    camera: str
    event: str
    rule: str
    label: str
    started: str
    """RFC 3339, UTC."""
    seconds: float
    """How long it lasted until its newest message."""
    open: bool
    top_score: float
    model: str
    verdict: str
    """What a person said: `right`, `false_alarm`, `missed`, `label`; empty: nobody has judged it."""
    verdict_label: str
    picture: bool
    """Whether a picture is stored on the device."""


def describe_event(record: EventRecord) -> ExportedEvent:
    """One event as a line of an export."""
    review = record.review
    return ExportedEvent(
        camera=record.camera,
        event=record.event,
        rule=record.rule,
        label=record.label,
        started=format_rfc3339(record.started),
        seconds=round(record.seconds, 3),
        open=record.is_open,
        top_score=round(record.last.top_score, 6),
        model=record.last.model,
        verdict=review.verdict if review is not None else "",
        verdict_label=review.label if review is not None else "",
        picture=record.has_picture,
    )


def export_as_csv(records: Iterable[EventRecord]) -> str:
    """CSV with a header. A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ExportedEvent.__struct_fields__)
    for record in records:
        writer.writerow([_harmless(value) for value in msgspec.structs.astuple(describe_event(record))])
    return text.getvalue()


def export_as_json(records: Iterable[EventRecord]) -> bytes:
    """A list of objects."""
    return msgspec.json.encode([describe_event(record) for record in records])


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
