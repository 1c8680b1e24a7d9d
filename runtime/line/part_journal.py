"""The parts in flight, on disk, so that the end of the process loses none and doubles none.

A line of JSON for each step of a part: its trigger, its verdict, and that the event is in the outbox. A line is written
before the verdict goes out, and not synced: it survives the end of the process, not a power cut. The event in the
outbox survives both (docs/line.md).

At a start, a part without a verdict becomes an error, and a verdict that did not reach the outbox is stored.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import msgspec

from ..errors import UNREADABLE
from ..events.event import SystemEvent
from ..events.part_verdict import PartKind

log = logging.getLogger(__name__)

FILE_NAME = "parts.jsonl"
_MAX_BYTES = 1 << 20


class JournalLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a part."""

    part: int
    triggered: float | None = None
    """Seconds since 1970, UTC: the part was triggered."""
    serial: str = ""
    product: str = ""
    """Name of its product, with the release that was to judge it."""
    release: str = ""
    verdict: SystemEvent | None = None
    """The event of its verdict."""
    reference: PartKind = ""
    notice: SystemEvent | None = None
    """An event about the reference parts."""
    noted: str = ""
    """`id` of such an event that is in the outbox."""
    stored: bool = False
    """The events of all parts up to this one are in the outbox."""


class PartJournal:
    """The journal of one camera's parts. Any thread may write.

    Args:
        folder: the camera's state folder
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.last_number = 0
        self.undecided: dict[int, JournalLine] = {}
        """Parts that had a trigger and no verdict when the process ended."""
        self.unstored: dict[int, SystemEvent] = {}
        """Verdicts that may have missed the outbox."""
        self.notices: dict[str, SystemEvent] = {}
        """Other events that may have missed the outbox, by `id`, oldest first."""
        self.fault = ""
        """Why nothing can be written; empty while it can."""
        self.mutex = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._read()
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        self.size = os.fstat(self.file).st_size
        if self.size and not self.path.read_bytes().endswith(b"\n"):
            self._append(b"\n")  # the process ended within a line

    def _read(self) -> None:
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for number, text in enumerate(lines):
            try:
                line = msgspec.json.decode(text, type=JournalLine)
            except UNREADABLE:
                if text:
                    log.warning("%s: line %d is damaged and left out", self.path, number + 1)
                continue
            self.last_number = max(self.last_number, line.part)
            if line.triggered is not None:
                self.undecided[line.part] = line
            if line.verdict is not None:
                self.undecided.pop(line.part, None)
                self.unstored[line.part] = line.verdict
            if line.notice is not None:
                self.notices[line.notice.id] = line.notice
            self.notices.pop(line.noted, None)
            if line.stored:
                self.unstored = {part: event for part, event in self.unstored.items() if part > line.part}

    def write_trigger(self, line: JournalLine) -> None:
        """Notes that a part was triggered."""
        with self.mutex:
            self.last_number = line.part
        self._write(line)

    def write_verdict(self, number: int, event: SystemEvent) -> None:
        """Notes the verdict on a part, before it goes out."""
        self._write(JournalLine(number, verdict=event))

    def write_notice(self, number: int, event: SystemEvent) -> None:
        """Notes an event about the reference parts; `number`: of the last part."""
        self._write(JournalLine(number, notice=event))

    def write_noted(self, event: SystemEvent) -> None:
        """Notes that such an event is in the outbox."""
        self._write(JournalLine(0, noted=event.id))

    def write_stored(self, number: int) -> None:
        """Notes that the events up to this part are in the outbox."""
        line = msgspec.json.encode(JournalLine(number, stored=True)) + b"\n"
        self._append(line)
        if self.size > _MAX_BYTES:
            self._start_anew(number, line)

    def _start_anew(self, number: int, line: bytes) -> None:
        """Keeps one line of the file, unless a later part is in flight. Without a sync, as all lines.

        The line is written over the first ones, and the others are cut off. A new file in the place of this one would
        delay the next verdict by up to 0.8 s on a busy disk, because ext4 writes it out first. A process that ends
        between the two steps leaves old parts, whose events are in the outbox, as the last line says.
        """
        with self.mutex:
            if number != self.last_number:
                return
            try:
                os.pwrite(self.file, line, 0)
                os.ftruncate(self.file, len(line))
                self.size = len(line)
            except OSError as error:
                log.warning("%s: not made shorter: %s", self.path, error.strerror)

    def close(self) -> None:
        """Closes the file."""
        os.close(self.file)

    def _write(self, line: JournalLine) -> None:
        self._append(msgspec.json.encode(line) + b"\n")

    def _append(self, text: bytes) -> None:
        with self.mutex:
            try:
                self.size += os.pwrite(self.file, text, self.size)
                self.fault = ""
            except OSError as error:
                if not self.fault:
                    log.error("%s: %s; a crash may now lose parts", self.path, error.strerror)
                self.fault = error.strerror or str(error)
