"""Another content for a camera's file, written into its text: comments, order and all other lines stay.

Only `region`, `[privacy] zones`, the threshold of parts and those keys of `[[rules]]` that a view changes are
rewritten, each as one line. Comments that stood inside such a value stand above it then.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Iterator
from typing import Any

import tomli_w

from ..config.toml_text import HEADER_PATTERN, KEY_PATTERN, rewrite_statement, split_statements
from ..errors import UNREADABLE, ConfigProblem
from ..installation.configuration.permitted_changes import merge, read_text
from .drawn_shapes import RULE_KEYS

PRESENCE = "presence"
"""The kind of rule whose threshold a view changes."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def change_text(
    text: str, wanted: dict[str, Any], removed: Collection[int] = (), keys: Collection[str] = RULE_KEYS
) -> str:
    """The text of a camera's file with the content `wanted`.

    Args:
        text: TOML
        wanted: its content, other than now in the region, the masks and in `keys` of rules alone
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


def set_part_threshold(text: str, threshold: float, product: int | None) -> str:
    """The text with `threshold` as that of the parts of a line.

    Args:
        text: TOML
        threshold: a part is rejected at this score
        product: index of the table `[[products]]` that gets it; None: `[trigger]` gets it

    Raises:
        ConfigProblem: it is not TOML, or has no such table.
    """
    text = text.removeprefix("\ufeff")
    wanted = read_text(text, "the camera's file")
    name = "trigger" if product is None else "products"
    tables = wanted.get(name, [])
    if isinstance(tables, dict):
        tables = [tables]
    number = next((at for at, each in enumerate(tables) if product in (None, each.get("index"))), None)
    if number is None:
        what = "table [trigger]" if product is None else f"product with the index {product}"
        raise ConfigProblem(f"the camera has no {what}", "docs/line.md shows one")
    tables[number]["threshold"] = threshold
    edited = "".join(_edit_table(text, name, number, "threshold", threshold))
    try:
        return edited if tomllib.loads(edited) == wanted else tomli_w.dumps(wanted)
    except UNREADABLE:
        return tomli_w.dumps(wanted)


def _edit_table(text: str, name: str, wanted: int, key: str, value: float) -> Iterator[str]:
    """The text with a value for a key of the table of this name and number, in its place or as the last one."""
    line, number, is_inside = _format_key(key, value), -1, False
    statements, rest = split_statements(text)
    for each in statements:
        if each.lines[0].lstrip().startswith("["):
            if is_inside:
                yield line
            header = HEADER_PATTERN.match(each.lines[0])
            is_table = header is not None and header[2] == name and not header[3]
            number += is_table
            is_inside = is_table and number == wanted
        yield from each.above
        if is_inside and (KEY_PATTERN.match(each.lines[0]) or ["", ""])[1] == key:
            yield from rewrite_statement(line, each.lines)
            is_inside = False
        else:
            yield from each.lines
    if is_inside:
        yield line
    yield from rest


def _edit(
    text: str, present: dict[str, Any], wanted: dict[str, Any], removed: Collection[int], keys: Collection[str]
) -> Iterator[str]:
    kept = [number for number in range(len(present.get("rules", []))) if number not in removed]
    rules = wanted.get("rules", [])
    tables = {number: rules[place] for place, number in enumerate(kept)}
    masks = wanted.get("privacy", {}).get("zones", [])
    stale = {"region"} if present.get("region") != wanted.get("region") else set()
    waiting = {"region": _format_key("region", wanted["region"])} if stale and "region" in wanted else {}
    """Lines of the open table that are not yet written, by key."""
    remaining = {*waiting}
    """Keys of the open table that change and do not go."""
    number, is_gone, table = -1, False, ""
    statements, rest = split_statements(text)
    for each in statements:
        header = HEADER_PATTERN.match(each.lines[0]) if each.lines[0].lstrip().startswith("[") else None
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
        key = (KEY_PATTERN.match(each.lines[0]) or ["", ""])[1]
        if table in ("", "rules", "privacy") and key in stale:
            yield from each.above
            if key in remaining:
                yield from rewrite_statement(waiting.pop(key, ""), each.lines)
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


def _format_key(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return "".join(_format_key(f"{key}.{_quote(name)}", points) for name, points in value.items())
    return f"{key} = {json.dumps(value, ensure_ascii=False)}\n"


def _quote(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)
