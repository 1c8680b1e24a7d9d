"""Another content for a camera's file, written into its text: comments, order and all other lines stay.

Only `[privacy] zones` and the keys of `[[rules]]` that shapes stand for are rewritten, each as one line.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import msgspec
import tomli_w

from ..errors import UNREADABLE
from ..installation.configuration.permitted_changes import merge
from .drawn_shapes import RULE_KEYS

_STRINGS_AND_COMMENTS = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*')
KEY_PATTERN = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)""")
HEADER_PATTERN = re.compile(r"""\s*(\[\[?)\s*["']?([A-Za-z0-9_-]+)["']?(?:\s*\.\s*["']?([A-Za-z0-9_-]+))?""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Statement(msgspec.Struct):
    """A header or a key with its value, in the text of a TOML file."""

    above: list[str]
    """Comments and empty lines before it."""
    lines: list[str]


def change_text(text: str, wanted: dict[str, Any], removed: set[int]) -> str:
    """The text of a camera's file with the content `wanted`.

    Args:
        text: TOML
        wanted: its content, other than now in the shapes alone
        removed: numbers of the rules that it has and `wanted` has not; new rules stand last

    Raises:
        ConfigProblem: the file differs in something that a request may not change.
    """
    present = tomllib.loads(text)
    edited = "".join(_edit(text, present, wanted, removed))
    try:
        if tomllib.loads(edited) == wanted:
            return edited
    except UNREADABLE:
        pass
    changed = {key: value for key, value in wanted.items() if present.get(key) != value}
    return merge(text, tomli_w.dumps(changed)) if changed else text


def _edit(text: str, present: dict[str, Any], wanted: dict[str, Any], removed: set[int]) -> Iterator[str]:
    kept = [number for number in range(len(present["rules"])) if number not in removed]
    tables = {number: wanted["rules"][place] for place, number in enumerate(kept)}
    masks = wanted.get("privacy", {}).get("zones", [])
    waiting: dict[str, str] = {}
    """Lines of the open table that are not yet written, by key."""
    stale: set[str] = set()
    number, is_gone, table = -1, False, ""
    statements, rest = split_statements(text)
    for each in statements:
        header = HEADER_PATTERN.match(each.lines[0]) if each.lines[0].lstrip().startswith("[") else None
        if header is not None:
            yield from waiting.values()
            waiting = {}
            table, sub = header[2], header[3] or ""
            if table == "rules" and header[1] == "[[":
                number += 1
                is_gone = number in removed
                old, new = present["rules"][number], tables.get(number, {})
                stale = {key for key in RULE_KEYS if old.get(key) != new.get(key)}
                waiting = {key: _format_key(key, new[key]) for key in RULE_KEYS if key in stale and key in new}
            elif table != "rules":
                is_gone = False
                stale = {"zones"} if table == "privacy" and present["privacy"].get("zones", []) != masks else set()
                waiting = {"zones": _format_key("zones", masks)} if stale else {}
            elif sub in stale:
                stale = stale | {"*"}  # the statements of this table go, up to the next header
                continue
            else:
                stale = stale - {"*"}
            if not is_gone:
                yield from (*each.above, *each.lines)
            continue
        if is_gone or "*" in stale:
            continue
        key = (KEY_PATTERN.match(each.lines[0]) or ["", ""])[1]
        if table in ("rules", "privacy") and key in stale:
            yield from each.above
            if key in waiting:
                yield with_comment(waiting.pop(key), each.lines[-1])
        else:
            yield from (*each.above, *each.lines)
    yield from waiting.values()
    yield from rest
    yield from _new_tables(masks if "privacy" not in present else [], wanted["rules"][len(kept) :])


def _new_tables(masks: list[Any], rules: list[dict[str, Any]]) -> Iterator[str]:
    if masks:
        yield f"\n[privacy]\n{_format_key('zones', masks)}"
    for rule in rules:
        yield "\n[[rules]]\n"
        yield from (_format_key(key, value) for key, value in rule.items())


def split_statements(text: str) -> tuple[list[Statement], list[str]]:
    """The statements of a file, and the lines after the last one."""
    statements: list[Statement] = []
    above: list[str] = []
    depth = 0
    for line in (text if text.endswith("\n") else f"{text}\n").splitlines(keepends=True):
        code = _STRINGS_AND_COMMENTS.sub("", line)
        if depth > 0:
            statements[-1].lines.append(line)
        elif not code.strip() and not line.strip().startswith(("'", '"')):
            above.append(line)
            continue
        else:
            statements.append(Statement(above, [line]))
            above = []
        depth += sum(code.count(each) for each in "[{") - sum(code.count(each) for each in "]}")
    return statements, above


def with_comment(line: str, replaced: str) -> str:
    """A line with the comment at the end of the one that it replaces."""
    comments = [found[0] for found in _STRINGS_AND_COMMENTS.finditer(replaced) if found[0].startswith("#")]
    return f"{line.rstrip()}  {comments[0].rstrip()}\n" if comments and line.count("\n") == 1 else line


def _format_key(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return "".join(_format_key(f"{key}.{_quote(name)}", points) for name, points in value.items())
    return f"{key} = {json.dumps(value, ensure_ascii=False)}\n"


def _quote(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)
