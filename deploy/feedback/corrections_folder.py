"""The corrections folder: pictures by verdict, and a table that says what each shows.

    corrections.csv                 the table; a build uses the pictures that it names, and no others
    false_alarm/EVENT.jpg           right/ and missed/ likewise
    label/LABEL/EVENT.jpg
    scores.csv                      scores of frames, with the verdict where a person gave one

To fetch again changes nothing but what is new: a changed verdict moves the picture. The table is replaced in one step
after the pictures are complete, so a crash leaves the old table, with all its pictures, or the new one.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import msgspec

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.errors import ConfigProblem

from .feedback import SCORE_COLUMNS, Feedback, JudgedEvent, ScoreRow, safe_name
from .state_search import SCORES_FILE, read_scores

TABLE = "corrections.csv"
_HINT = "give --out a folder that this user may write"


class Correction(msgspec.Struct, frozen=True):
    """A row of the table. All fields are text, as in the file."""

    file: str
    """Path of the picture, relative to the folder."""
    event: str
    camera: str
    day: str
    model: str
    score: str
    verdict: str
    label: str
    by: str
    time: str
    """When it was judged, seconds since 1970."""
    whole: str
    """Whether the picture shows the whole frame: `yes`, `no`, or empty."""
    sha256: str
    """Of the picture."""

    @property
    def group(self) -> str:
        """Camera and day: pictures of one group resemble each other."""
        return f"{self.camera} {self.day}"


class PullResult(msgspec.Struct, frozen=True):
    """What a pull changed."""

    judged: int
    """Judged events at the source."""
    new: int
    changed: int
    """Pictures whose verdict changed."""
    total: int
    """Rows of the table."""
    without_picture: int
    """Judged events of which the source stored no picture, or no longer has it."""
    scores: int
    """Rows of scores.csv."""


def read_table(folder: Path) -> list[Correction]:
    """The rows of the table in the order of the file; none if there is no table.

    Raises:
        ConfigProblem: the table cannot be read, or a column is missing.
    """
    path, columns = folder / TABLE, Correction.__struct_fields__
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or [])]
            rows = [] if missing else [Correction(**{name: row[name] or "" for name in columns}) for row in reader]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        hint = "vedette feedback pull writes this table: fetch into another folder"
        raise ConfigProblem(f"{path}: cannot be read: {error}", hint=hint) from None
    if missing:
        raise ConfigProblem(f"{path}: no column {', '.join(missing)}", hint="vedette feedback pull writes this table")
    if foreign := [row.file for row in rows if not _is_inside(row.file)]:
        hint = "vedette feedback pull writes this table, with files of its own folder only: fetch into another folder"
        raise ConfigProblem(f"{path}: names the file {foreign[0][:100]!r}, which is not below this folder", hint=hint)
    return rows


def _is_inside(file: str) -> bool:
    """Whether the path of a picture stays in the folder: a table from elsewhere must not name other files."""
    parts = PurePosixPath(file).parts
    return bool(parts) and "\0" not in file and ".." not in parts and not file.startswith("/")


def merge_feedback(feedback: Feedback, folder: Path) -> PullResult:
    """Adds what was fetched to a corrections folder, which is created if it does not exist.

    Raises:
        ConfigProblem: the folder's table cannot be read.
        MachineProblem: the folder cannot be written.
    """
    rows = {row.event: row for row in read_table(folder)}
    before = dict(rows)
    for judged in feedback.events:
        present = rows.get(judged.review.event)
        if present is not None and _seconds(present.time) > judged.review.time:
            continue  # from elsewhere, and judged anew since
        picture = feedback.pictures.get(judged.review.event) or _present_picture(folder, present)
        if picture is not None:
            row = rows[judged.review.event] = _make_row(judged, *picture, present)
            if not _holds(folder / row.file, row.sha256):
                write_atomically(folder / row.file, picture[1], hint=_HINT, private=True)
    ordered = sorted(rows.values(), key=lambda row: (row.camera, row.day, row.event))
    _write_if_new(folder / TABLE, render_table(ordered))
    for event, old in before.items():
        if rows[event].file != old.file:
            with contextlib.suppress(OSError):
                (folder / old.file).unlink()
    scores = _merge_scores(feedback, folder)
    return PullResult(
        judged=len(feedback.events),
        new=len(rows) - len(before),
        changed=sum(rows[event].verdict != old.verdict for event, old in before.items()),
        total=len(rows),
        without_picture=sum(each.review.event not in rows for each in feedback.events),
        scores=scores,
    )


def _present_picture(folder: Path, row: Correction | None) -> tuple[str, bytes] | None:
    """Suffix and content of a picture that the folder holds already."""
    if row is None or not (path := folder / row.file).is_file():
        return None
    return path.suffix, path.read_bytes()


def _make_row(judged: JudgedEvent, suffix: str, content: bytes, present: Correction | None) -> Correction:
    review = judged.review
    place = f"label/{safe_name(review.label)}" if review.verdict == "label" else review.verdict
    row = Correction(
        file=f"{place}/{review.event}{suffix}",
        event=review.event,
        camera=review.camera,
        day=judged.day,
        model=judged.model,
        score="" if judged.score is None else f"{judged.score:g}",
        verdict=review.verdict,
        label=review.label,
        by=review.by,
        time=f"{review.time:.3f}",
        whole=judged.whole,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    if present is not None and not judged.model:  # the box has forgotten the event, the table has not
        row = msgspec.structs.replace(row, model=present.model, score=present.score, whole=present.whole)
    return row


def _merge_scores(feedback: Feedback, folder: Path) -> int:
    """Adds scores to `scores.csv`; returns its number of rows."""
    path = folder / SCORES_FILE
    present = read_scores(path) if path.is_file() else []
    rows = {(row.camera, row.time, row.model): row for row in (*feedback.scores, *present)}
    if not rows:
        return 0
    verdicts = {key: row.verdict for key, row in rows.items()} | _verdicts(rows.values(), feedback.events)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*SCORE_COLUMNS, "verdict"))
    for key, row in sorted(rows.items()):
        table.writerow((row.time, row.camera, row.model, f"{row.score:g}", int(row.alarm), verdicts.get(key, "")))
    _write_if_new(path, text.getvalue().encode())
    return len(rows)


def _verdicts(rows: Iterable[ScoreRow], events: Iterable[JudgedEvent]) -> dict[tuple[str, str, str], str]:
    """The verdict of each frame that lies within a judged event of its camera."""
    spans: dict[str, list[tuple[float, float, str]]] = {}
    for each in events:
        if each.ended:
            spans.setdefault(each.review.camera, []).append((each.started, each.ended, each.review.verdict))
    found = {}
    for row in rows:
        moment = row.seconds
        for first, last, verdict in spans.get(row.camera, []):
            if moment is not None and first - 0.001 <= moment <= last + 0.001:  # times in files have milliseconds
                found[row.camera, row.time, row.model] = verdict
    return found


def render_table(rows: Iterable[Correction]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Correction.__struct_fields__)
    table.writerows(msgspec.structs.astuple(row) for row in rows)
    return text.getvalue().encode()


def _write_if_new(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content, hint=_HINT, private=True)


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
