"""The table of boxes: a CSV file with one row per box, every cell checked, every error with its line and column.

Separators may be commas, semicolons or tabs. Cells that are empty take the default of their column. Up to eight cameras
stand in one row: `camera`, `source`, … and `camera2`, `source2`, ….
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from vedette.runtime.errors import ConfigProblem, Problem

from .fleet_cells import CAMERA_COLUMNS, CHECKS
from .fleet_settings import OPERATOR, READER

MAX_CAMERAS = 8
MAX_BOXES = 10_000
_SHOWN_ERRORS = 200
_DOCS = "docs/provisioning.md lists the columns"


class BoxCamera(msgspec.Struct, frozen=True):
    """One camera of a box."""

    name: str
    source: str
    bundle: str
    """A file, relative to the table, or `installed:NAME`."""
    username: str = ""
    password: str = ""


class Box(msgspec.Struct, frozen=True):
    """One row of the table."""

    name: str
    site: str = "site"
    area: str = "area"
    line: str = "line"
    timezone: str = ""
    revision: int = 1
    """A higher one makes a box take its seed again."""
    address: str = ""
    """Fixed address with the length of its prefix; empty: by DHCP."""
    gateway: str = ""
    dns: tuple[str, ...] = ()
    wifi_ssid: str = ""
    wifi_password: str = ""
    wifi_country: str = ""
    ssh_key: str = ""
    note: str = ""
    """For people; printed on the label."""
    cameras: tuple[BoxCamera, ...] = ()


class _Errors:
    """What is wrong, in the order of lines."""

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, list[str]()

    def add(self, line: int, column: str, text: str) -> None:
        self.found.append(f"{self.path}:{line}: column {column!r}: {text}")

    def check(self) -> None:
        if self.found:
            more = len(self.found) - _SHOWN_ERRORS
            shown = self.found[:_SHOWN_ERRORS] + ([f"and {more} more"] if more > 0 else [])
            raise ConfigProblem("\n".join(shown), hint=f"correct the table; nothing was written. {_DOCS}")


def read_table(path: Path, defaults: Mapping[str, str | int]) -> tuple[Box, ...]:
    """Reads the boxes of a table.

    Args:
        path: the CSV file, in UTF-8
        defaults: values of columns for empty cells

    Raises:
        ConfigProblem: the file cannot be read; or what is wrong, with line and column.
    """
    text = _read_text(path)
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    errors = _Errors(path)
    try:
        columns = [column.strip().lower() for column in next(rows, [])]
        known = _check_columns(columns, defaults, errors)
        boxes = _read_rows(rows, columns, known, defaults, errors)
    except csv.Error as error:  # it may hide the rest of the table
        errors.found.append(f"{path}:{rows.line_num}: {error}: quotation marks come in pairs")
        boxes = ()
    errors.check()
    if not boxes:
        raise ConfigProblem(f"{path}: no boxes", hint="write one row for each box below the names of the columns")
    return boxes


def _read_rows(
    rows: Any,
    columns: list[str],
    known: set[str],
    defaults: Mapping[str, str | int],
    errors: _Errors,
) -> tuple[Box, ...]:
    """The boxes whose rows are right; cells of columns that are not known have been told already."""
    boxes, lines, addresses = list[Box](), dict[str, int](), dict[str, int]()
    for cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        line = rows.line_num
        if len(cells) > len(columns):
            errors.add(line, columns[-1], f"{len(cells)} cells, but there are {len(columns)} columns")
        values = {column: str(value) for column, value in defaults.items()}
        given = {column: cell.strip() for column, cell in zip(columns, cells, strict=False) if column in known}
        values |= {column: cell for column, cell in given.items() if cell}
        for column, seen in (("name", lines), ("address", addresses)):
            value = values.get(column, "").casefold()
            if value and seen.setdefault(value, line) != line:
                errors.add(line, column, f"{value} is in line {seen[value]} already")
        box = _make_box(values, line, errors, "name" in columns)
        if box is None:
            continue
        boxes.append(box)
        if len(boxes) > MAX_BOXES:
            errors.add(line, "name", f"more than {MAX_BOXES} boxes; write several tables")
            break
    return tuple(boxes)


def _check_columns(columns: list[str], defaults: Mapping[str, str | int], errors: _Errors) -> set[str]:
    """The known columns, whether the table has them or not."""
    known = set(Box.__struct_fields__) - {"cameras"}
    known |= {f"{column}{number}" for column in CAMERA_COLUMNS for number in ("", *range(2, MAX_CAMERAS + 1))}
    of_cameras = [f"{column}, {column}2 … {column}{MAX_CAMERAS}" for column in CAMERA_COLUMNS]
    names = [*Box.__struct_fields__[:-1], *of_cameras]
    for column in columns:
        if column not in known:
            errors.add(1, column, f"unknown; known are {', '.join(names)}")
        elif columns.count(column) > 1:
            errors.add(1, column, "stands there twice")
    if "name" not in columns:
        errors.add(1, "name", "is missing")
    for column in sorted(set(defaults) - (known - {"name"})):
        raise ConfigProblem(f"defaults.{column}: no such column, or none that may have a default", hint=_DOCS)
    return known


def _make_box(values: dict[str, str], line: int, errors: _Errors, has_names: bool) -> Box | None:
    before = len(errors.found)
    checked = dict[str, object]()
    for column, value in values.items():
        kind = column.rstrip("2345678") if column not in CHECKS else column
        try:
            checked[column] = CHECKS[kind](value)
        except ValueError as error:
            shown = "" if "password" in column else f"{value!r}: "
            errors.add(line, column, f"{shown}{error}")
        except Problem as problem:
            errors.add(line, column, problem.message)
    name = str(checked.get("name", ""))
    if has_names and not values.get("name"):
        errors.add(line, "name", "is empty")
    if name.casefold() in (OPERATOR, READER):
        errors.add(line, "name", f"{name} is a user of the broker already")
    cameras = _make_cameras(values, line, errors)
    for column, needed in (("gateway", "address"), ("wifi_password", "wifi_ssid"), ("wifi_ssid", "wifi_country")):
        if values.get(column) and not values.get(needed):
            errors.add(line, needed, f"is empty, and {column} needs it")
    if len(errors.found) > before or not name:
        return None
    fields = {column: value for column, value in checked.items() if column in Box.__struct_fields__}
    return msgspec.convert({**fields, "cameras": cameras}, Box)


def _make_cameras(values: dict[str, str], line: int, errors: _Errors) -> tuple[BoxCamera, ...]:
    cameras = list[BoxCamera]()
    for number in ("", *range(2, MAX_CAMERAS + 1)):
        given = {column: values.get(f"{column}{number}", "") for column in CAMERA_COLUMNS}
        source = given["source"]
        if not source:
            if given["camera"]:
                errors.add(line, f"source{number}", f"is empty, and camera{number} needs it")
            continue
        bundle = given["bundle"] or values.get("bundle", "")  # cameras of a box often share one
        if not bundle:
            errors.add(line, f"bundle{number}", f"is empty, and source{number} needs it")
        name = given["camera"] or f"camera{number}"
        if any(each.name == name for each in cameras):
            errors.add(line, f"camera{number}", f"{name} is the name of another camera of this box")
        cameras.append(BoxCamera(name, source, bundle, given["camera_username"], given["camera_password"]))
    return tuple(cameras)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint="name the CSV file with the boxes") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigProblem(f"{path}:{line}: not UTF-8", hint="save it as CSV in UTF-8") from None
