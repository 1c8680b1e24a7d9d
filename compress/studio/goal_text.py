"""Keys of a goal file, changed in its text: comments, order and all other keys stay."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.config.toml_text import HEADER_PATTERN, KEY_PATTERN, rewrite_statement, split_statements
from vedette.runtime.errors import UNREADABLE, ConfigProblem

from ..goal.goal_reader import read_goal

Changes = Mapping[str, Mapping[str, Any]]
"""By table and key, "" for the keys before the first table; None removes a key."""


def change_goal(path: Path, changes: Changes) -> None:
    """Writes changed keys into a goal file, if a build would take the result; creates the file if it is missing.

    Raises:
        ConfigProblem: the file, or what it would become, is wrong; the file stays as it was.
        MachineProblem: it cannot be written.
    """
    try:
        before = path.read_text(encoding="utf-8-sig") if path.exists() else ""
        present = tomllib.loads(before)
        wanted = _apply(present, changes)
        text = "".join(_edit(before, present, changes)) if before else tomli_w.dumps(wanted)
        is_same = tomllib.loads(text) == wanted
    except UNREADABLE as error:
        raise ConfigProblem(f"{path}: {error}", hint="correct the file in an editor") from None
    if not is_same:
        hint = "write the keys with the file in an editor, each table with a header of its own"
        raise ConfigProblem(f"{path}: written in a way that the page cannot change", hint=hint)
    candidate = path.with_name(f".{path.name}.new")
    try:
        write_atomically(candidate, text.encode(), "make the folder writable")
        read_goal(candidate)
    except ConfigProblem as problem:
        raise ConfigProblem(problem.message.replace(str(candidate), str(path)), problem.hint) from None
    finally:
        candidate.unlink(missing_ok=True)
    write_atomically(path, text.encode(), "make the folder writable")


def _apply(present: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    wanted = {key: dict(value) if isinstance(value, dict) else value for key, value in present.items()}
    for table, values in changes.items():
        target = wanted.setdefault(table, {}) if table else wanted
        for key, value in values.items():
            if value is None:
                target.pop(key, None)
            else:
                target[key] = value
        if table and not target and table not in present:
            del wanted[table]
    return wanted


def _edit(text: str, present: Mapping[str, Any], changes: Changes) -> Iterator[str]:
    left = {
        table: {key: value for key, value in values.items() if value is not None} for table, values in changes.items()
    }
    table = ""
    statements, rest = split_statements(text)
    for each in statements:
        header = HEADER_PATTERN.match(each.lines[0]) if each.lines[0].lstrip().startswith("[") else None
        if header is not None:
            yield from _new_keys(left.pop(table, {}))
            table = header[2] if header[1] == "[" and not header[3] else "\0"
            yield from (*each.above, *each.lines)
            continue
        key = (KEY_PATTERN.match(each.lines[0]) or ["", ""])[1]
        if key not in changes.get(table, {}):
            yield from (*each.above, *each.lines)
        elif key in left.get(table, {}):
            yield from each.above
            yield from rewrite_statement("".join(_new_keys({key: left[table].pop(key)})), each.lines)
        else:
            yield from each.above
    yield from _new_keys(left.pop(table, {}))
    yield from rest
    for name, values in left.items():
        if values:
            yield f"\n[{name}]\n"
            yield from _new_keys(values)


def _new_keys(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        yield tomli_w.dumps({key: value})
