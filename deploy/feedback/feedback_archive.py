"""Feedback as one file: a tar archive that goes over SSH or onto a USB stick.

    feedback.json     the judged events
    EVENT.jpg         their pictures
    scores.csv        scores of frames

The reader trusts nothing: it takes these names only, within limits, and writes no file by a name of the archive.
"""

from __future__ import annotations

import csv
import io
import re
import tarfile
from collections.abc import Iterable
from typing import IO

import msgspec

from vedette.runtime.errors import UNREADABLE, ConfigProblem
from vedette.runtime.evidence.reviews import EVENT_PATTERN

from .feedback import MAX_PICTURE_BYTES, PICTURE_SUFFIXES, SCORE_COLUMNS, Feedback, JudgedEvent, ScoreRow
from .state_search import SCORES_FILE, parse_scores

ARCHIVE_SUFFIX = ".feedback.tar"
EVENTS_MEMBER = "feedback.json"
MAX_BYTES = 4 << 30  # of all members
MAX_TEXT_BYTES = 256 << 20  # of the events or of the scores
_EVENT = re.compile(EVENT_PATTERN)


def write_archive(feedback: Feedback, file: IO[bytes]) -> None:
    """Writes the archive; equal feedback gives equal bytes."""
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        _add(archive, EVENTS_MEMBER, msgspec.json.encode(feedback.events))
        for event, (suffix, content) in feedback.pictures.items():
            _add(archive, f"{event}{suffix}", content)
        if feedback.scores:
            _add(archive, SCORES_FILE, render_scores(feedback.scores))


def read_archive(file: IO[bytes], name: str) -> Feedback:
    """Reads an archive.

    Args:
        file: the archive
        name: its name, for messages

    Raises:
        ConfigProblem: it is damaged, or not such an archive.
    """
    events: tuple[JudgedEvent, ...] | None = None
    pictures: dict[str, tuple[str, bytes]] = {}
    scores: list[ScoreRow] = []
    total = 0
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                stem, dot, suffix = member.name.rpartition(".")
                is_picture = dot + suffix in PICTURE_SUFFIXES and _EVENT.match(stem) is not None
                total += member.size
                largest = MAX_PICTURE_BYTES if is_picture else MAX_TEXT_BYTES
                content = archive.extractfile(member) if member.isreg() else None
                if content is None or member.size > largest or total > MAX_BYTES:
                    raise ValueError(f"{member.name!r} is not of such an archive")
                if is_picture:
                    pictures[stem] = dot + suffix, content.read()
                elif member.name == EVENTS_MEMBER:
                    events = msgspec.json.decode(content.read(), type=tuple[JudgedEvent, ...])
                elif member.name == SCORES_FILE:
                    text = io.TextIOWrapper(content, encoding="utf-8", errors="replace", newline="")
                    scores = parse_scores(text, f"{name}: {SCORES_FILE}")
                else:
                    raise ValueError(f"{member.name!r} is not of such an archive")
        if events is None:
            raise ValueError(f"{EVENTS_MEMBER} is missing")
    except (tarfile.TarError, EOFError, OSError, *UNREADABLE) as error:
        hint = "fetch it again; both machines need a vedette that knows feedback"
        raise ConfigProblem(f"{name}: not an archive of feedback ({error})", hint=hint) from None
    judged = {each.review.event for each in events}
    return Feedback(events, {event: each for event, each in pictures.items() if event in judged}, tuple(scores))


def render_scores(rows: Iterable[ScoreRow]) -> bytes:
    """The rows as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(SCORE_COLUMNS)
    table.writerows((row.time, row.camera, row.model, f"{row.score:g}", int(row.alarm)) for row in rows)
    return text.getvalue().encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    archive.addfile(member, io.BytesIO(content))
