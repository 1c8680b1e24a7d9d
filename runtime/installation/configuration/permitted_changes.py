"""What a request may change in a camera's file, and a part of such a file put into the whole one.

What decides where pictures come from and go to, logins, paths and the back end stays root's: a request that touches
them is refused as a whole. Of `[trigger]` and `[[products]]` it may change the thresholds.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from typing import Any

import tomli_w

from ...config.installed_bundle import INSTALLED
from ...errors import UNREADABLE, ConfigProblem
from .change_requests import MAX_BYTES

PERMITTED = ("rules", "tracker", "gate", "privacy", "health", "threshold", "thresholds", "region", "masks")
"""Keys of a camera's file that a request may change; `bundle` as well, to an installed product."""
BUNDLE = "bundle"
_ROOTS = ("faces", "moved", "number_plates")
"""Keys of `[privacy]` that are root's to decide, though zones are not."""
_HEADER = re.compile(r"^[ \t]*\[")
_KEY = re.compile(r"""^[ \t]*\[{0,2}[ \t]*["']?([A-Za-z0-9_-]+)""")


def read_text(content: str | bytes, what: str) -> dict[str, Any]:
    """A camera's file, or a part of one, as a dictionary.

    Args:
        content: TOML
        what: names it in messages

    Raises:
        ConfigProblem: it is too long or not TOML.
    """
    data = content.encode() if isinstance(content, str) else content
    if len(data) > MAX_BYTES:
        raise ConfigProblem(f"{what}: {len(data)} bytes exceed the {MAX_BYTES} of a camera's file", "shorten it")
    try:
        return tomllib.loads(data.removeprefix(codecs.BOM_UTF8).decode())
    except UNREADABLE as error:
        raise ConfigProblem(f"{what}: not TOML: {str(error)[:200]}", "correct it; docs/config.md shows one") from None


def check_permitted(present: dict[str, Any], new: dict[str, Any], what: str) -> tuple[str, ...]:
    """The keys that differ between a camera's file and the one that is asked for.

    Raises:
        ConfigProblem: one of them is not for a request to change.
    """
    changed = tuple(key for key in sorted({*present, *new}) if _differ(present.get(key), new.get(key)))
    refused = [
        key
        for key in changed
        if key not in PERMITTED and not _is_installed(key, new) and not _differs_in_thresholds(key, present, new)
    ]
    refused += [f"privacy.{key}" for key in _ROOTS if _differ(_find_privacy(present, key), _find_privacy(new, key))]
    if refused:
        hint = "root changes them at the box: vedette configure, or vedette setup"
        raise ConfigProblem(f"{what}: a request may not change {', '.join(refused)[:200]}", hint)
    return changed


def check_part(part: dict[str, Any], what: str) -> None:
    """Checks that a part of a camera's file holds only what a request may change.

    Raises:
        ConfigProblem: it holds something else, or nothing.
    """
    if not part:
        raise ConfigProblem(f"{what}: nothing to change", f"it may have {', '.join(PERMITTED)} and {BUNDLE}")
    refused = [key for key in part if key not in PERMITTED and not _is_installed(key, part)]
    if refused:
        hint = f'leave them out: each box keeps its own. A part may have rules, tables and {BUNDLE} = "{INSTALLED}NAME"'
        raise ConfigProblem(f"{what}: not for many boxes: {', '.join(refused)[:200]}", hint)


def merge(present: str, part: str, what: str = "the part") -> str:
    """A camera's file in which the tables and keys of a part replace those of the same name, each as a whole.

    Comments and order of the rest stay, if the result then says what it should; otherwise the file is written anew.

    Raises:
        ConfigProblem: one of them is not TOML, or the part holds what a request may not change.
    """
    whole, changes = read_text(present, "the camera's file"), read_text(part, what)
    check_part(changes, what)
    wanted = whole | changes
    top, tables = _split(present)
    new_top, new_tables = _split(part)
    lines = [*_without(top, changes), *new_top, *_without(tables, changes), *new_tables]
    text = "".join(line if line.endswith("\n") else f"{line}\n" for block in lines for line in block)
    try:
        if tomllib.loads(text) == wanted:
            return text
    except UNREADABLE:
        pass
    return tomli_w.dumps(wanted)


def _differ(one: Any, other: Any) -> bool:
    return one != other or type(one) is not type(other)


def _differs_in_thresholds(key: str, present: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether the tables of a line differ in nothing but the thresholds of its parts."""
    return key in ("trigger", "products") and _without_threshold(present.get(key)) == _without_threshold(new.get(key))


def _without_threshold(content: Any) -> Any:
    if isinstance(content, list):
        return list(map(_without_threshold, content))
    return (
        {key: value for key, value in content.items() if key != "threshold"} if isinstance(content, dict) else content
    )


def _find_privacy(content: dict[str, Any], key: str) -> Any:
    """The value of a key of `[privacy]`; None: it is not there."""
    privacy = content.get("privacy")
    return privacy.get(key) if isinstance(privacy, dict) else None


def _is_installed(key: str, content: dict[str, Any]) -> bool:
    return key == BUNDLE and str(content.get(BUNDLE)).startswith(INSTALLED)


def _split(text: str) -> tuple[list[list[str]], list[list[str]]]:
    """The lines of a file in blocks: one for each key before the first table, with the comments above it, and one for
    each table. Lines of several are only guessed; `merge` checks the result.
    """
    top: list[list[str]] = []
    tables: list[list[str]] = []
    above: list[str] = []
    for line in text.removeprefix("\ufeff").splitlines(keepends=True):
        if not line.strip() or line.lstrip().startswith("#"):
            above.append(line)
        elif _HEADER.match(line) and not _is_inside_list(top):
            tables.append([*above, line])
            above = []
        elif tables:
            tables[-1] += [*above, line]
            above = []
        else:
            top.append([*above, line])
            above = []
    (tables or top or [above])[-1].extend(above if tables or top else [])
    return top, tables


def _is_inside_list(top: list[list[str]]) -> bool:
    """Whether the last key before the first table has a list that is still open."""
    text = "".join(top[-1]) if top else ""
    return text.count("[") > text.count("]")


def _without(blocks: list[list[str]], changes: dict[str, Any]) -> list[list[str]]:
    """The blocks of keys that do not change; comments above the others go with them."""
    kept = []
    for block in blocks:
        first = next((line for line in block if line.strip() and not line.lstrip().startswith("#")), "")
        found = _KEY.match(first)
        if found is None or found[1] not in changes:
            kept.append(block)
    return kept
