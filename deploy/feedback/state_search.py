"""Judged events in a folder: a state folder or a copy of it, uploaded evidence, a USB stick.

reviews.jsonl                         the verdicts
EVENT.jpg, EVENT.webp                 pictures, wherever they lie below the folder
outbox.db beside the verdicts         model, score and times of the events
scores.bin, scores.csv                scores of frames
"""

from __future__ import annotations

import contextlib
import csv
import logging
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from vedette.runtime.errors import UNREADABLE, ConfigProblem, MachineProblem
from vedette.runtime.events.event import Attachment, SystemEvent
from vedette.runtime.events.part_events import as_messages, read_part
from vedette.runtime.evidence.reviews import EVENT_PATTERN, REVIEWS_FILE, Review, ReviewStore
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.live import scores as live_scores
from vedette.runtime.live.product_scores import camera_of_scores
from vedette.runtime.live.score_history import FILE_NAME as HISTORY_FILE

from .feedback import MAX_PICTURE_BYTES, PICTURE_SUFFIXES, SCORE_COLUMNS, Feedback, JudgedEvent, ScoreRow, day_of_event

log = logging.getLogger(__name__)

OUTBOX_FILE, SCORES_FILE = "outbox.db", "scores.csv"
_EVENT = re.compile(EVENT_PATTERN)
MAX_SCORE = 1e9
"""No score of a model is larger."""
_MAX_DEPTH = 8


class _Message(msgspec.Struct):
    """The fields of a stored event that are of use here."""

    event: str
    kind: str
    taken: float
    started: float
    model: str = ""
    predictions: tuple[Prediction, ...] = ()
    evidence: Attachment | None = None
    is_part: bool = False
    """It is the verdict on a part, whose picture is the whole frame."""

    @property
    def shows_whole_frame(self) -> bool:
        """Whether its picture is the whole frame, and not a part around its boxes."""
        boxed = any(each.box is not None for each in self.predictions)
        return self.is_part or not boxed or (self.evidence is not None and self.evidence.whole)


def search_folders(folders: Iterable[Path], may_be_empty: bool = False) -> Feedback:
    """The judged events, their pictures and the scores below some folders.

    Args:
        folders: where to search
        may_be_empty: whether it is no error if nothing below them was judged

    Raises:
        ConfigProblem: a folder does not exist, or nothing below them was judged.
        MachineProblem: a file cannot be read.
    """
    reviews: dict[str, Review] = {}
    pictures: dict[str, Path] = {}
    messages: dict[str, list[_Message]] = {}
    scores: list[ScoreRow] = []
    folders = list(folders)
    outboxes: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            hint = "name a state folder, a folder of uploaded evidence, or a box as ssh://user@host"
            raise ConfigProblem(f"{folder}: no such folder", hint=hint)
        for path in _walk(folder):
            if path.name == REVIEWS_FILE:
                for event, review in ReviewStore(path.parent).latest().items():
                    if event not in reviews or review.time >= reviews[event].time:
                        reviews[event] = review
            elif path.name == OUTBOX_FILE:
                outboxes.append(path)
            elif path.name in (SCORES_FILE, HISTORY_FILE):
                scores += read_scores(path)
            elif path.suffix in PICTURE_SUFFIXES and _EVENT.match(path.stem):
                pictures[path.stem] = path
    if not reviews and not scores and not may_be_empty:
        places = ", ".join(map(str, folders))
        hint = f"events are judged on the box's page; the verdicts lie in STATE/CAMERA/{REVIEWS_FILE}"
        raise ConfigProblem(f"{places}: nobody judged an event there", hint=hint)
    for path in outboxes:
        for message in _read_messages(path, set(reviews)):
            messages.setdefault(message.event, []).append(message)
    return Feedback(
        tuple(_judged(review, messages.get(event, [])) for event, review in sorted(reviews.items())),
        {event: _read_picture(pictures[event]) for event in sorted(reviews) if event in pictures},
        tuple(scores),
    )


def read_scores(path: Path) -> list[ScoreRow]:
    """The rows of a `scores.csv` or `scores.bin`; a damaged row is skipped, with a warning.

    Raises:
        ConfigProblem: the file has other columns.
        MachineProblem: it cannot be read.
    """
    if path.name == HISTORY_FILE:
        table = live_scores.scores_as_csv(camera_of_scores(path.parent), live_scores.read_scores(path.parent))
        return parse_scores(table.splitlines(), str(path))
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
            return parse_scores(file, str(path))
    except OSError as error:
        raise MachineProblem(f"{path}: {error.strerror}", hint=_readable_hint()) from None


def parse_scores(lines: Iterable[str], name: str) -> list[ScoreRow]:
    """As `read_scores`, from lines of a file called `name`."""
    reader = csv.DictReader(line.replace("\0", "") for line in lines)
    try:
        missing = [column for column in SCORE_COLUMNS if column not in (reader.fieldnames or [])]
    except csv.Error as error:
        raise ConfigProblem(f"{name}: not CSV: {error}", hint="vedette feedback pull writes scores.csv") from None
    if missing:
        hint = f"the first line is {','.join(SCORE_COLUMNS)}"
        raise ConfigProblem(f"{name}: no column {', '.join(missing)}", hint=hint)
    rows, damaged = [], 0
    for row in _readable_rows(reader, name):
        try:
            score = float(row["score"])
            if not abs(score) < MAX_SCORE or not row["camera"]:
                raise ValueError("not a score")
            alarm = str(row["alarm"]).strip().lower() in ("1", "true", "yes")
            rows.append(
                ScoreRow(row["time"] or "", row["camera"], row["model"] or "", score, alarm, row.get("verdict") or "")
            )
        except (TypeError, ValueError):
            damaged += 1
    if damaged:
        log.warning("%s: %d damaged rows are skipped", name, damaged)
    return rows


def _readable_rows(reader: csv.DictReader[str], name: str) -> Iterator[dict[str, str]]:
    """The rows of a table up to one that is no CSV at all, such as a field of megabytes."""
    try:
        yield from reader
    except csv.Error as error:
        log.warning("%s: what follows line %d is left out: %s", name, reader.line_num, error)


def _walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, in the order of their names; links to folders are not followed."""

    def fail(error: OSError) -> None:
        raise MachineProblem(f"{error.filename}: {error.strerror}", hint=_readable_hint()) from None

    for place, folders, names in os.walk(folder, onerror=fail):
        if len(Path(place).relative_to(folder).parts) >= _MAX_DEPTH:
            folders.clear()
        folders.sort()
        yield from (path for name in sorted(names) if not (path := Path(place, name)).is_symlink() and path.is_file())


def _read_messages(path: Path, events: set[str]) -> Iterator[_Message]:
    """The stored messages of some events; none if the outbox cannot be read, with a warning."""
    for mode in ("mode=ro", "mode=ro&immutable=1"):  # a copy on a read-only disk opens only in the second way
        found = []
        try:
            with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True)) as database:
                for (body,) in database.execute("SELECT body FROM events ORDER BY sequence"):
                    found += [message for message in _decode(body) if message.event in events]
        except sqlite3.Error as error:
            reason = error
            continue
        yield from found
        return
    log.warning("%s: the events' models and scores are not known (%s)", path, reason)


def _decode(body: bytes) -> list[_Message]:
    """The messages of a stored record; those of a part that was judged follow from its verdict."""
    with contextlib.suppress(*UNREADABLE):  # events about the device have other fields
        return [msgspec.json.decode(body, type=_Message)]
    with contextlib.suppress(*UNREADABLE):
        record = msgspec.json.decode(body, type=SystemEvent)
        if (verdict := read_part(record)) is not None:
            return [
                _Message(each.event, each.kind, each.taken, each.started, each.model, each.predictions, is_part=True)
                for each in as_messages(record, verdict)
            ]
    return []


def _judged(review: Review, messages: list[_Message]) -> JudgedEvent:
    first = next((each for each in messages if each.kind == "new"), None)
    if first is None:
        return JudgedEvent(review, day_of_event(review.event))
    return JudgedEvent(
        review,
        day_of_event(review.event),
        started=first.started,
        ended=max(each.taken for each in messages),
        model=first.model,
        score=max((each.score for each in first.predictions), default=None),
        whole="yes" if first.shows_whole_frame else "no",
    )


def _read_picture(path: Path) -> tuple[str, bytes]:
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            hint = "no box stores so large a picture: look at the file"
            raise ConfigProblem(f"{path}: more than {MAX_PICTURE_BYTES >> 20} MiB", hint=hint)
        return path.suffix, path.read_bytes()
    except OSError as error:
        raise MachineProblem(f"{path}: {error.strerror}", hint=_readable_hint()) from None


def _readable_hint() -> str:
    return "run it as the user vedette or as root, for example with sudo"
