"""Export of the counters as a table: CSV, or Parquet with the extra `parquet`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from ..distribution import install_command
from ..errors import MachineProblem
from ..events.event import format_rfc3339
from ..events.part_count_tables import CountRow
from ..statistics.shift_calendar import ShiftCalendar

COLUMNS = ("begins", "hour", "day", "shift", "product", "what", "name", "parts")
"""The beginning of the quarter of an hour (UTC), the hour of the wall clock with its offset, and the counter."""


def list_records(rows: Iterable[CountRow], calendar: ShiftCalendar) -> list[tuple[str | int, ...]]:
    """The rows of the table."""
    return [
        (
            format_rfc3339(row.start),
            calendar.local_hour(row.start),
            row.day,
            row.shift,
            row.product,
            row.what,
            row.name,
            row.parts,
        )
        for row in rows
    ]


def encode_csv(records: Sequence[tuple[str | int, ...]]) -> bytes:
    """The table as CSV in UTF-8. Text that a spreadsheet would take for a formula gets an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        writer.writerow([f"'{each}" if str(each)[:1] in ("=", "+", "-", "@", "\t") else each for each in record])
    return text.getvalue().encode()


def encode_parquet(records: Sequence[tuple[str | int, ...]]) -> bytes:
    """The table as Parquet.

    Raises:
        MachineProblem: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError:
        hint = f"{install_command('parquet')}; --csv needs nothing more"
        raise MachineProblem("Parquet needs pyarrow, which is missing", hint=hint) from None
    kinds: list[Any] = [pa.string()] * (len(COLUMNS) - 1) + [pa.int64()]
    columns = list(zip(*records, strict=True)) or [()] * len(COLUMNS)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    buffer = io.BytesIO()
    parquet.write_table(pa.table(dict(zip(COLUMNS, arrays, strict=True))), buffer)
    return buffer.getvalue()
