"""The events of a camera, read from its outbox without changing it: one record for the messages of one event.

A part that was rejected, or passed with a warning, is an event of its own (events/part_events.py).

The outbox keeps the delivered events too, as its journal. A list is read from the newest message backwards and stops
when it is full, so a long journal costs little.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from ..config.configuration import Config
from ..errors import UNREADABLE, MachineProblem
from ..events.event import Event, SystemEvent
from ..events.outbox import FILE_NAME
from ..events.part_events import as_messages, read_part
from ..events.part_verdict import PartVerdict
from ..evidence.reviews import Review, ReviewStore
from ..evidence.store import CLIP_SUFFIXES, GOOD_SUFFIX, HEAT_SUFFIX, PICTURE_SUFFIXES
from ..inference.prediction import Box

EVENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_ROWS = 20_000
"""Messages that one list reads at most."""
_BATCH = 500
_UNTOLD = ('"rule":"part","kind":"verdict"', '"rule":"evidence","kind":"clip"')
_NOTICES = (
    "SELECT body FROM events WHERE instr(body, CAST(? AS BLOB)) AND NOT instr(body, CAST(? AS BLOB)) "
    "AND NOT instr(body, CAST(? AS BLOB)) ORDER BY sequence DESC LIMIT ?"
)
Verdict = Literal["", "right", "false_alarm", "missed", "label", "none"]
"""`none`: nobody has judged it; empty: any."""


class EventFilter(msgspec.Struct, frozen=True):
    """Which events a list shows; an empty field lets all pass."""

    camera: str = ""
    rule: str = ""
    label: str = ""
    verdict: str = ""
    before: float = 0.0
    """Only events that began before this time, seconds since 1970; 0: all."""

    def matches(self, record: EventRecord) -> bool:
        """Whether the list shows an event."""
        verdict = record.review.verdict if record.review is not None else "none"
        return (
            self.rule in ("", record.rule)
            and self.label in ("", record.label)
            and self.verdict in ("", verdict)
            and (not self.before or record.started < self.before)
        )


class EventRecord(msgspec.Struct, frozen=True):
    """What is known about one event."""

    camera: str
    event: str
    messages: tuple[Event, ...]
    """In order; the first ones are missing if the journal is shorter than the event."""
    review: Review | None
    has_picture: bool
    has_clip: bool
    has_heat: bool = False
    """Whether the heat map to lay over its picture is stored."""
    has_good: bool = False
    """Whether the picture of the most similar good part is stored."""
    part: PartVerdict | None = None
    """Set if it is the verdict on a part."""

    @property
    def rule(self) -> str:
        return self.messages[0].rule

    @property
    def started(self) -> float:
        """Seconds since 1970, UTC."""
        return self.messages[0].started

    @property
    def last(self) -> Event:
        """The newest message."""
        return self.messages[-1]

    @property
    def is_open(self) -> bool:
        return self.last.kind != "end"

    @property
    def seconds(self) -> float:
        """How long it lasted until its newest message."""
        return max(0.0, self.last.taken - self.started)

    @property
    def label(self) -> str:
        """Of the prediction with the highest score; empty: there is none."""
        best = max((each for message in self.messages for each in message.predictions), key=_score, default=None)
        return best.label if best is not None else self.messages[0].after.label if self.messages[0].after else ""

    @property
    def boxes(self) -> list[Box]:
        """Of its first message: what its picture shows."""
        return [each.box for each in self.messages[0].predictions if each.box is not None]

    @property
    def shows_whole_frame(self) -> bool:
        """Whether its picture is the whole frame, and not a part around its boxes."""
        first = self.messages[0]
        is_whole = self.part is not None or (first.evidence is not None and first.evidence.whole)
        return first.kind == "new" and (not self.boxes or is_whole)

    @property
    def track(self) -> list[tuple[float, float]]:
        """Middles of its boxes from message to message, as fractions of the frame."""
        boxes = [message.after.box for message in self.messages if message.after and message.after.box]
        return [((box.left + box.right) / 2, (box.top + box.bottom) / 2) for box in boxes]


def _score(prediction: object) -> float:
    return float(getattr(prediction, "score", 0.0))


class EventReader:
    """Reads the events of one camera.

    Args:
        camera: its name
        state: its folder of persistent state
        evidence: folder of its pictures and clips
    """

    def __init__(self, camera: str, state: Path, evidence: Path) -> None:
        self.camera, self.path, self.evidence = camera, state / FILE_NAME, evidence
        self.reviews = ReviewStore(state)

    @classmethod
    def from_config(cls, config: Config) -> EventReader:
        """The reader of a configured camera."""
        state = config.state_folder
        return cls(config.camera, state, config.evidence.store_folder(config.camera, state))

    def list_events(self, wanted: EventFilter, limit: int) -> list[EventRecord]:
        """The newest events that a filter lets pass, at most `limit`.

        Raises:
            MachineProblem: the outbox or the reviews cannot be read.
        """
        reviews = self.reviews.latest()
        groups: dict[str, list[Event]] = {}
        found: dict[str, EventRecord] = {}
        for read, message in enumerate(self._messages_backwards(), 1):
            if isinstance(message, SystemEvent):
                record = self._part_record(message, reviews)
            else:
                group = groups.setdefault(message.event, [])
                group.insert(0, message)
                record = self._record(group, reviews) if message.kind == "new" else None
            if record is not None and wanted.matches(record):
                found[record.event] = record
            if len(found) >= limit and read % _BATCH == 0:
                break
        for event, group in groups.items():  # their first message has left the journal
            if event not in found and group[0].kind != "new" and len(found) < limit:
                record = self._record(group, reviews)
                if wanted.matches(record):
                    found[event] = record
        return sorted(found.values(), key=lambda record: -record.started)[:limit]

    def find_event(self, event: str) -> EventRecord | None:
        """One event; None: the outbox does not have it any more.

        Raises:
            MachineProblem: the outbox or the reviews cannot be read.
        """
        if not EVENT_ID.fullmatch(event):
            return None
        query = "SELECT body FROM events WHERE instr(body, CAST(? AS BLOB)) ORDER BY sequence DESC LIMIT 1000"
        found, reviews = list(self._read(query, (event,))), self.reviews.latest()
        for each in found:
            if isinstance(each, SystemEvent) and each.id == event:
                return self._part_record(each, reviews)
        messages = [each for each in found if isinstance(each, Event) and each.event == event]
        return self._record(messages[::-1], reviews) if messages else None

    def list_notices(self, limit: int) -> list[SystemEvent]:
        """The newest events about the device itself, without those that come with every part and every event.

        Raises:
            MachineProblem: the outbox cannot be read.
        """
        found = self._read(_NOTICES, ('"type":"notice"', *_UNTOLD, limit))
        return [each for each in found if isinstance(each, SystemEvent)]

    def evidence_file(self, event: str, suffixes: tuple[str, ...]) -> Path | None:
        """The file of an event with one of the suffixes; None: there is none."""
        if not EVENT_ID.fullmatch(event):
            return None
        places = (
            folder / f"{event}{suffix}" for suffix in suffixes for folder in (self.evidence, self.evidence / "waiting")
        )
        return next((path for path in places if path.is_file()), None)

    def _part_record(self, message: SystemEvent, reviews: dict[str, Review]) -> EventRecord | None:
        verdict = read_part(message)
        if verdict is None:
            return None
        return msgspec.structs.replace(self._record(list(as_messages(message, verdict)), reviews), part=verdict)

    def _record(self, messages: list[Event], reviews: dict[str, Review]) -> EventRecord:
        event = messages[0].event
        kinds = PICTURE_SUFFIXES, CLIP_SUFFIXES, (HEAT_SUFFIX,), (GOOD_SUFFIX,)
        picture, clip, heat, good = (self.evidence_file(event, kind) is not None for kind in kinds)
        return EventRecord(self.camera, event, tuple(messages), reviews.get(event), picture, clip, heat, good)

    def _messages_backwards(self) -> Iterator[Event | SystemEvent]:
        yield from self._read("SELECT body FROM events ORDER BY sequence DESC LIMIT ?", (MAX_ROWS,))

    def _read(self, query: str, values: tuple[object, ...]) -> Iterator[Event | SystemEvent]:
        if not self.path.is_file():
            return
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)) as database:
                cursor = database.execute(query, values)
                while rows := cursor.fetchmany(_BATCH):
                    for (body,) in rows:
                        with contextlib.suppress(*UNREADABLE):
                            yield msgspec.json.decode(body, type=Event | SystemEvent)
        except sqlite3.DatabaseError as error:
            hint = "read it as the user of the daemon; at its start the daemon recovers what is readable"
            raise MachineProblem(f"{self.path}: {error}", hint=hint) from None
