"""The numbers of a shift, as the retained topic `stats/part` has them: parts, yield, rejects, by product and hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from ..statistics.shift_calendar import Shift, ShiftCalendar
from .event import format_rfc3339
from .part_count_tables import CountRow, has_part_tables, read_counts
from .part_counts import PartCounts


class PartNumbers(msgspec.Struct, frozen=True):
    """How many parts, by verdict."""

    parts: int
    """All verdicts, those of parts that were inspected again included."""
    accept: int
    warn: int
    reject: int
    error: int
    yield_: float | None = msgspec.field(name="yield")
    """Accepted of all parts; `warn` and `error` do not count as good. Null: no part."""
    first_pass_yield: float | None
    """The same of parts whose serial number came for the first time; without serial numbers it is `yield`."""


class PartStats(msgspec.Struct, frozen=True):
    """The numbers of the present shift of a camera."""

    camera: str
    day: str
    """The day on which the shift begins."""
    shift: str
    """Name of the shift; empty: between the shifts."""
    begins: str
    ends: str
    total: PartNumbers
    regions: dict[str, int]
    """Rejected parts by the region that rejects them."""
    labels: dict[str, int]
    """Rejected parts by label."""
    reasons: dict[str, int]
    """Errors by reason."""
    products: dict[str, PartNumbers]
    hours: dict[str, PartNumbers]
    """By the hour that the wall clock shows, with its offset."""


def summarize(rows: Iterable[CountRow]) -> PartNumbers:
    """The numbers of some rows of the counters."""
    kept = list(rows)
    verdicts, first = count_names(kept, "verdict"), count_names(kept, "first")
    parts, fresh = sum(verdicts.values()), sum(first.values())
    return PartNumbers(
        parts=parts,
        accept=verdicts["accept"],
        warn=verdicts["warn"],
        reject=verdicts["reject"],
        error=verdicts["error"],
        yield_=verdicts["accept"] / parts if parts else None,
        first_pass_yield=first["accept"] / fresh if fresh else None,
    )


def count_names(rows: Iterable[CountRow], what: str) -> Counter[str]:
    """How often each name was counted, the most frequent first."""
    found: Counter[str] = Counter()
    for row in rows:
        if row.what == what:
            found[row.name] += row.parts
    return Counter(dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))))


def group(rows: Iterable[CountRow], key: Callable[[CountRow], str]) -> dict[str, list[CountRow]]:
    """The rows by a key, in its order."""
    groups: dict[str, list[CountRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return dict(sorted(groups.items()))


def make_part_stats(camera: str, shift: Shift, rows: Sequence[CountRow], calendar: ShiftCalendar) -> PartStats:
    """The numbers of a shift from the rows of its counters."""
    products: Mapping[str, list[CountRow]] = group(rows, lambda row: row.product)
    hours: Mapping[str, list[CountRow]] = group(rows, lambda row: calendar.local_hour(row.start))
    return PartStats(
        camera=camera,
        day=shift.day,
        shift=shift.name,
        begins=format_rfc3339(shift.begins),
        ends=format_rfc3339(shift.ends),
        total=summarize(rows),
        regions=dict(count_names(rows, "region")),
        labels=dict(count_names(rows, "label")),
        reasons=dict(count_names(rows, "reason")),
        products={name: summarize(each) for name, each in products.items()},
        hours={hour: summarize(each) for hour, each in hours.items()},
    )


def present_part_stats(counts: PartCounts) -> PartStats | None:
    """The numbers of the present shift; None if no part was ever counted. Any thread may call it."""
    outbox, calendar = counts.outbox, counts.calendar
    shift = calendar.find(outbox.clock.wall_time())
    with outbox.transaction():
        if not has_part_tables(counts.database):
            return None
        rows = read_counts(counts.database, shift.begins, shift.ends)
    mine = [row for row in rows if (row.day, row.shift) == (shift.day, shift.name)]
    return make_part_stats(outbox.camera, shift, mine, calendar)
