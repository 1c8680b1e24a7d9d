"""Another content for a camera's file, written into its text: comments, order and all other lines stay.

Only `[privacy] zones` and those keys of `[[rules]]` that a view changes are rewritten, each as one line. Comments that
stood inside such a value stand above it then.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Iterator
from typing import Any

import msgspec
import tomli_w

from ..errors import UNREADABLE, ConfigProblem
from ..installation.configuration.permitted_changes import merge, read_text
from .drawn_shapes import RULE_KEYS

PRESENCE = "presence"
"""The kind of rule whose threshold a view changes."""
_STRINGS_AND_COMMENTS = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"{3,5}|' r"'''[\s\S]*?'{3,5}|" r'"(?:\\.|[^"\\\n])*"|' r"'[^'\n]*'|#[^\n]*"
)
_INSIDE = "\0"
"""Ends a line that ends inside a string."""
_KEY = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)""")
_HEADER = re.compile(r"""\s*(\[\[?)\s*["']?([A-Za-z0-9_-]+)["']?(?:\s*\.\s*["']?([A-Za-z0-9_-]+))?""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class _Statement(msgspec.Struct):
    above: list[str]
    """Comments and empty lines before it."""
    lines: list[str]


def change_text(
    text: str, wanted: dict[str, Any], removed: Collection[int] = (), keys: Collection[str] = RULE_KEYS
) -> str:
    """The text of a camera's file with the content `wanted`.

    Args:
        text: TOML
        wanted: its content, other than now in the masks and in `keys` of rules alone
        removed: numbers of the rules that it has and `wanted` has not; new rules stand last
        keys: of rules, that may differ

    Raises:
        ConfigProblem: the file differs in something that a request may not change.
    """
    present = tomllib.loads(text)
    edited = "".join(_edit(text, present, wanted, removed, keys))
    try:
        if tomllib.loads(edited) == wanted:
            return edited
    except UNREADABLE:
        pass
    changed = {key: value for key, value in wanted.items() if present.get(key) != value}
    return merge(text, tomli_w.dumps(changed)) if changed else text


def set_threshold(text: str, threshold: float) -> str:
    """The text with `threshold` in the first rule of the kind `presence`; others keep theirs.

    Raises:
        ConfigProblem: it is not TOML, or has no such rule.
    """
    text = text.removeprefix("\ufeff")
    wanted = read_text(text, "the camera's file")
    for rule in wanted.get("rules", []):
        if rule.get("use") == PRESENCE:
            rule["threshold"] = threshold
            return change_text(text, wanted, keys=("threshold",))
    raise ConfigProblem("the camera has no rule presence", 'add [[rules]] use = "presence"; docs/config.md shows one')


def _edit(
    text: str, present: dict[str, Any], wanted: dict[str, Any], removed: Collection[int], keys: Collection[str]
) -> Iterator[str]:
    kept = [number for number in range(len(present.get("rules", []))) if number not in removed]
    rules = wanted.get("rules", [])
    tables = {number: rules[place] for place, number in enumerate(kept)}
    masks = wanted.get("privacy", {}).get("zones", [])
    waiting: dict[str, str] = {}
    """Lines of the open table that are not yet written, by key."""
    stale: set[str] = set()
    remaining: set[str] = set()
    """Keys of the open table that change and do not go."""
    number, is_gone, table = -1, False, ""
    statements, rest = _split(text)
    for each in statements:
        header = _HEADER.match(each.lines[0]) if each.lines[0].lstrip().startswith("[") else None
        if header is not None:
            yield from waiting.values()
            waiting = {}
            table, sub = header[2], header[3] or ""
            if table == "rules" and header[1] == "[[" and not sub:
                number += 1
                is_gone = number in removed
                old, new = present["rules"][number], tables.get(number, {})
                stale = {key for key in keys if old.get(key) != new.get(key)}
                waiting = {key: _format_key(key, new[key]) for key in keys if key in stale and key in new}
                remaining = {*waiting}
            elif table != "rules":
                is_gone = False
                stale = {"zones"} if table == "privacy" and present["privacy"].get("zones", []) != masks else set()
                waiting = {"zones": _format_key("zones", masks)} if stale else {}
                remaining = {*waiting}
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
        key = (_KEY.match(each.lines[0]) or ["", ""])[1]
        if table in ("rules", "privacy") and key in stale:
            yield from each.above
            if key in remaining:
                yield from _rewrite(waiting.pop(key, ""), each.lines)
        else:
            yield from (*each.above, *each.lines)
    yield from waiting.values()
    yield from rest
    yield from _new_tables(masks if "privacy" not in present else [], rules[len(kept) :])


def _new_tables(masks: list[Any], rules: list[dict[str, Any]]) -> Iterator[str]:
    if masks:
        yield f"\n[privacy]\n{_format_key('zones', masks)}"
    for rule in rules:
        yield "\n[[rules]]\n"
        yield from (_format_key(key, value) for key, value in rule.items())


def _split(text: str) -> tuple[list[_Statement], list[str]]:
    """The statements of a file, and the lines after the last one."""
    statements: list[_Statement] = []
    above: list[str] = []
    depth = 0
    text = text if text.endswith("\n") else f"{text}\n"
    codes = _STRINGS_AND_COMMENTS.sub(_blank, text).split("\n")
    for line, code in zip(text[:-1].split("\n"), codes, strict=False):
        if depth > 0:
            statements[-1].lines.append(f"{line}\n")
        elif not code.strip():
            above.append(f"{line}\n")
            continue
        else:
            statements.append(_Statement(above, [f"{line}\n"]))
            above = []
        depth += sum(code.count(each) for each in "[{") - sum(code.count(each) for each in "]}")
        depth += code.endswith(_INSIDE) - code.startswith(_INSIDE)
    return statements, above


def _blank(found: re.Match[str]) -> str:
    """What stands for a string or a comment, with as many lines."""
    token = found[0]
    return "" if token.startswith("#") else f'"{token.count(chr(10)) * f"{_INSIDE}{chr(10)}{_INSIDE}"}"'


def _rewrite(line: str, replaced: list[str]) -> Iterator[str]:
    """New lines in place of a statement; a comment at its end stays there, those inside stand above."""
    comments = [
        found[0].rstrip() for found in _STRINGS_AND_COMMENTS.finditer("".join(replaced)) if found[0].startswith("#")
    ]
    is_at_end = bool(comments) and replaced[-1].rstrip().endswith(comments[-1]) and line.count("\n") == 1
    yield from (f"{comment}\n" for comment in (comments[:-1] if is_at_end else comments))
    yield f"{line.rstrip()}  {comments[-1]}\n" if is_at_end else line


def _format_key(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return "".join(_format_key(f"{key}.{_quote(name)}", points) for name, points in value.items())
    return f"{key} = {json.dumps(value, ensure_ascii=False)}\n"


def _quote(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)
