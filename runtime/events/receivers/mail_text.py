"""The text of a mail about events: one event, or many that happened since the last mail."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ..event import Attachment, Event, SystemEvent, clock_correction
from ..outbox import SequencedEvent
from . import ReceiverContext

_MAX_VALUE_LENGTH = 200  # characters of a fact in a line
_MAX_SUBJECT_RULES = 4


class MailItem(NamedTuple):
    """What a mail says about an event; the event itself may be large."""

    sequence: int
    id: str
    rule: str
    what: str
    """In words: what was seen, or what happened to the device."""
    time: str
    model: str
    thumbnail: Attachment | None


def make_item(row: SequencedEvent, context: ReceiverContext, zone: tzinfo | None) -> MailItem:
    """Makes the item of an event; `zone` is the time zone of its time, None: the machine's."""
    record = row.event
    taken = record.taken + clock_correction(record, context.clock)
    time = datetime.fromtimestamp(taken, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %z")
    if isinstance(record, SystemEvent):
        facts = ", ".join(f"{key} {_plain(value)}" for key, value in record.facts.items())
        return MailItem(row.sequence, record.id, record.rule, f"{record.kind}: {facts}".rstrip(": "), time, "", None)
    thumbnail = record.evidence if record.evidence and record.evidence.type.startswith("image/") else None
    return MailItem(row.sequence, record.id, record.rule, _describe(record), time, record.model, thumbnail)


def _describe(event: Event) -> str:
    best = max(event.predictions, key=lambda each: each.score, default=None)
    return f"score {event.top_score:.3g}" if best is None else f"{best.label}, score {best.score:.3g}"


def _plain(value: object) -> str:
    """A value in one line."""
    return re.sub(r"\s+", " ", str(value))[:_MAX_VALUE_LENGTH]


def find_zone(name: str) -> tzinfo | None:
    """The time zone of this name; None: the machine's."""
    return ZoneInfo(name) if name else None


def make_subject(items: Sequence[MailItem], context: ReceiverContext) -> str:
    """The subject of a mail: device, camera and rules."""
    place = f"[{context.device}] {context.camera}"
    if len(items) == 1:
        return _plain(f"{place}: {items[0].rule}: {items[0].what}")
    counts = Counter(item.rule for item in items).most_common()
    rules = ", ".join(f"{count} {rule}" for rule, count in counts[:_MAX_SUBJECT_RULES])
    more = ", …" if len(counts) > _MAX_SUBJECT_RULES else ""
    return _plain(f"{place}: {len(items)} events: {rules}{more}")


def make_text(items: Sequence[MailItem], context: ReceiverContext, missing: Sequence[str], is_full: bool) -> str:
    """The text of a mail.

    Args:
        items: the events
        context: device and camera
        missing: ids of the events whose thumbnail is kept no more
        is_full: whether more events wait for the next mail
    """
    place = f"camera {context.camera} of {context.source}"
    if len(items) == 1:
        item = items[0]
        lines = [f"{item.rule}: {item.what}", "", f"time      {item.time}", f"place     {place}"]
        lines += [f"model     {item.model}"] if item.model else []
        lines += [f"event     {item.id}", f"sequence  {item.sequence} in epoch {context.epoch}"]
    else:
        lines = [f"{len(items)} events, {place}, epoch {context.epoch}. Time, sequence, rule, what, event:", ""]
        lines += [f"{item.time}  {item.sequence}  {item.rule}  {item.what}  {item.id}" for item in items]
    if is_full:
        lines += ["", "More events wait; the next mail lists them."]
    lines += ["", f"No longer kept: the thumbnails of {', '.join(missing)}"] if missing else []
    return "\n".join(lines) + "\n"
