"""The fleet as a list: one row for each product of a box, as a table, as CSV and as JSON."""

from __future__ import annotations

import csv
import io

import msgspec

from .inventory import FleetBox

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS = ("box", "state", "product", "release", "probation", "runtime", "events", "p95 ms", "faults")


class Row(msgspec.Struct, frozen=True):
    """A product of a box; `product` is empty if the box said of none."""

    place: str
    state: str
    product: str
    current: int | None
    previous: int | None
    probation: str
    """Outcome of the last probation, and why it was rolled back."""
    cameras: tuple[str, ...]
    models: tuple[str, ...]
    runtime: str
    events_per_minute: float | None
    p95_ms: float | None
    """Of its slowest camera."""
    faults: tuple[str, ...]
    instance: str


def make_rows(boxes: list[FleetBox]) -> list[Row]:
    """The rows of these boxes, in their order."""
    return [row for box in boxes for row in _rows_of(box)]


def _rows_of(box: FleetBox) -> list[Row]:
    cameras = box.cameras.values()
    rates = [camera.events_per_minute for camera in cameras if camera.events_per_minute is not None]
    slowness = [camera.p95_ms for camera in cameras if camera.p95_ms is not None]
    rows = []
    for name in sorted(box.products) or [""]:
        product = box.products.get(name)
        probation = ""
        if product is not None and product.probation:
            probation = f"{product.release} {product.probation}{f': {product.reason}' if product.reason else ''}"
        row = Row(
            place=box.place,
            state=box.state,
            product=name,
            current=product.current if product else None,
            previous=product.previous if product else None,
            probation=probation,
            cameras=tuple(sorted(box.cameras)),
            models=tuple(sorted({camera.model for camera in cameras if camera.model})),
            runtime=", ".join(sorted({camera.runtime for camera in cameras if camera.runtime})),
            events_per_minute=round(sum(rates), 1) if rates else None,
            p95_ms=max(slowness, default=None),
            faults=tuple(sorted({fault for camera in cameras for fault in camera.faults})),
            instance=box.instance,
        )
        rows.append(row)
    return rows


def render_table(rows: list[Row]) -> str:
    """A table for a terminal, and a line with the number of boxes by state."""
    cells = [_COLUMNS] + [
        (
            row.place,
            row.state,
            row.product or ", ".join(row.models),
            _text(row.current),
            row.probation,
            row.runtime,
            _text(row.events_per_minute),
            _text(row.p95_ms),
            "; ".join(row.faults),
        )
        for row in rows
    ]
    widths = [min(max(len(line[column]) for line in cells), 60) for column in range(len(_COLUMNS))]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    states = [state for _, state in {(row.place, row.state) for row in rows}]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    boxes = "1 box" if len(states) == 1 else f"{len(states)} boxes"
    return "\n".join([*lines, "", f"{boxes}: {counts}" if states else "no boxes"])


def render_csv(rows: list[Row]) -> str:
    """All fields, as CSV; no cell is a formula for a spreadsheet."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(Row.__struct_fields__)
    for row in rows:
        writer.writerow([_cell(value) for value in msgspec.structs.astuple(row)])
    return file.getvalue()


def _cell(value: object) -> str:
    text = "; ".join(value) if isinstance(value, tuple) else _text(value)
    return f"'{text}" if text.startswith(_FORMULA) and not isinstance(value, int | float) else text


def _text(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
