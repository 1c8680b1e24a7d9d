"""What the outbox's database and the reviews hold of a shift, and of the shifts before it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from ..config.configuration import Config
from ..errors import ConfigProblem, MachineProblem
from ..events import part_count_tables as tables
from ..events.outbox import FILE_NAME
from ..events.part_count_tables import CountRow, PartId, ScoreRow
from ..events.part_rejects import RejectedPart, read_rejects
from ..evidence.reviews import Review, ReviewStore
from ..statistics.shift_calendar import Shift, ShiftCalendar

_ALWAYS = (-float("inf"), float("inf"))


class ShiftData(msgspec.Struct, frozen=True):
    """The rows of a shift."""

    camera: str
    shift: Shift
    calendar: ShiftCalendar
    counts: tuple[CountRow, ...]
    scores: tuple[ScoreRow, ...]
    ids: tuple[PartId, ...]
    """Events of parts that were not accepted."""
    rejects: tuple[RejectedPart, ...]
    """Those that are kept, the worst first."""
    reviews: dict[str, Review]
    """By the event; those of other shifts, too."""
    earlier_counts: tuple[CountRow, ...]
    """Of the shifts before it that are kept."""
    earlier_scores: tuple[ScoreRow, ...]


@contextmanager
def open_counters(settings: Config) -> Iterator[sqlite3.Connection]:
    """The database of a camera's outbox, to be read only; its daemon may be running.

    Raises:
        MachineProblem: there is none, or it cannot be read.
    """
    path: Path = settings.state_folder / FILE_NAME
    if not path.is_file():
        hint = "the daemon creates it at its first start; check the camera's name and [device] state"
        raise MachineProblem(f"no counters at {path}", hint=hint)
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
            yield database
    except sqlite3.DatabaseError as error:
        hint = "read it as the user of the service or as root; a corrupt file is mended at the daemon's next start"
        raise MachineProblem(f"{path}: {error}", hint=hint) from None


def read_shift(settings: Config, day: str | None = None, name: str | None = None) -> ShiftData:
    """The data of a shift.

    Args:
        settings: of the camera
        day: the day on which the shift begins, as `2026-11-29`; None: the newest with a part
        name: of the shift; None: the last one of the day with a part

    Raises:
        ConfigProblem: there is no such shift, or it has no part.
        MachineProblem: the counters cannot be read.
    """
    calendar = ShiftCalendar.from_config(settings)
    with open_counters(settings) as database:
        counts, scores = tables.read_counts(database, *_ALWAYS), tables.read_scores(database, *_ALWAYS)
        newest = next((row for row in reversed(counts) if _fits(row, day, name)), None)
        if newest is None:
            raise ConfigProblem(f"camera {settings.camera}: {_describe(day, name)}", hint=_list_shifts(counts))
        ids = tables.read_ids(database, newest.day, newest.shift)
        rejects = read_rejects(database, newest.day, newest.shift)
    mine = [row for row in counts if _fits(row, newest.day, newest.shift)]
    first = mine[0].start
    return ShiftData(
        camera=settings.camera,
        shift=_find_shift(calendar, newest),
        calendar=calendar,
        counts=tuple(mine),
        scores=tuple(row for row in scores if _fits(row, newest.day, newest.shift)),
        ids=tuple(ids),
        rejects=tuple(rejects),
        reviews=ReviewStore(settings.state_folder).latest(),
        earlier_counts=tuple(row for row in counts if row.start < first and not _fits(row, newest.day, newest.shift)),
        earlier_scores=tuple(row for row in scores if row.start < first and not _fits(row, newest.day, newest.shift)),
    )


def _fits(row: CountRow | ScoreRow, day: str | None, name: str | None) -> bool:
    return day in (None, row.day) and name in (None, row.shift)


def _find_shift(calendar: ShiftCalendar, row: CountRow) -> Shift:
    """The shift of a row; if the shifts were configured anew since, with the times of the row's span alone."""
    for moment in (row.start, row.start + tables.SPAN_SECONDS - 1):
        shift = calendar.find(moment)
        if (shift.day, shift.name) == (row.day, row.shift):
            return shift
    return Shift(row.day, row.shift, row.start, row.start + tables.SPAN_SECONDS)


def _describe(day: str | None, name: str | None) -> str:
    where = " ".join(each for each in (day or "", name or "") if each)
    return f"no part was counted in the shift {where}" if where else "no part was counted"


def _list_shifts(counts: Sequence[CountRow]) -> str:
    known = list(dict.fromkeys(f"{row.day} {row.shift or '(between)'}" for row in counts))[-6:]
    return f"the newest are {', '.join(known)}" if known else "a camera counts parts once it has a [trigger]"
